import { randomBytes } from 'node:crypto';

/** Makes a secret for one role of one cluster: 256 random bits as 43 characters of base64url. */
export function makeToken(): string {
  return randomBytes(32).toString('base64url');
}
