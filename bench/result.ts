/** One ratio between ours and the bare parts, both measured in this run. */
export interface Result {
  name: string;
  ratio: number;
  /** What we want the ratio to be. */
  aim: string;
  /** The absolute figure behind it, for this machine. */
  told: string;
}
