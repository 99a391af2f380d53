/** A route needs one of these, or none. */
export const PERMISSIONS = ['read', 'publish', 'activate', 'force', 'operate', 'report', 'gateway', 'keys'] as const;
export type Permission = (typeof PERMISSIONS)[number];
