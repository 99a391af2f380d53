/** Takes down how to close what was opened; all is closed in reverse. */
export type Opened = (undo: () => unknown) => void;
