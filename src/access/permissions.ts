/** What a route asks for; every route asks for one, or for none. */
export const PERMISSIONS = ['read', 'publish', 'activate', 'force', 'operate', 'report', 'gateway', 'keys'] as const;
export type Permission = (typeof PERMISSIONS)[number];
