/** Registers how to close an opened part; parts are closed in reverse order. */
export type Opened = (undo: () => unknown) => void;
