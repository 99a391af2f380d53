/** What a route asks for; every route asks for one, or for none. */
export type Permission = 'read' | 'publish' | 'activate' | 'operate' | 'report' | 'gateway';

export const ROLES = ['admin', 'user'] as const;
export type Role = (typeof ROLES)[number];

const granted: Record<Role, readonly Permission[]> = {
  user: ['read'],
  admin: ['read', 'publish', 'activate', 'operate', 'report', 'gateway'],
};

export function mayDo(role: Role, permission: Permission): boolean {
  return granted[role].includes(permission);
}
