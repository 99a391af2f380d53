/** The header of a download: `accept` allows the registry to answer 307 with a short-lived address of the bytes. */
export const REDIRECT = 'Signalbox-Redirect';
