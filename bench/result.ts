/** A ratio between Signalbox and its bare parts, both measured in this run. */
export interface Result {
  name: string;
  ratio: number;
  /** The required ratio. */
  aim: string;
  /** Absolute figures of this machine. */
  detail: string;
}
