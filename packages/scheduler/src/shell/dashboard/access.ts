import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const COOKIE = 'farm-token';

/** Where a request carried its credential. */
export type Access =
  | { readonly kind: 'header' | 'cookie' }
  /** In the URL: the browser is given a cookie and sent to the URL without it. */
  | { readonly kind: 'url'; readonly location: string; readonly cookie: string }
  | { readonly kind: 'refused' };

/**
 * Decides whether an HTTP request may see the dashboard. The token is accepted as
 * `Authorization: Bearer`, as a cookie, or once as `?token=` of a page a person opens.
 *
 * The comparison takes the same time for every wrong token.
 */
export function checkAccess(request: IncomingMessage, token: string): Access {
  const header = request.headers.authorization;
  if (header !== undefined) {
    const given = header.startsWith('Bearer ') ? header.slice('Bearer '.length) : '';
    return isSame(given, token) ? { kind: 'header' } : { kind: 'refused' };
  }
  const url = new URL(request.url ?? '/', 'http://dashboard');
  const inUrl = url.searchParams.get('token');
  if (inUrl !== null) {
    if (!isSame(inUrl, token)) return { kind: 'refused' };
    // Relative, so that the page works behind a tunnel or a path prefix.
    const page = url.pathname.split('/').at(-1) ?? '';
    const cookie = `${COOKIE}=${encodeURIComponent(token)}; HttpOnly; SameSite=Strict; Path=/`;
    return { kind: 'url', location: page === '' ? './' : page, cookie };
  }
  const cookie = cookieValue(request.headers.cookie ?? '', COOKIE);
  return cookie !== undefined && isSame(cookie, token) ? { kind: 'cookie' } : { kind: 'refused' };
}

function isSame(given: string, token: string): boolean {
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function cookieValue(header: string, name: string): string | undefined {
  for (const pair of header.split(';')) {
    const [key, value] = pair.trim().split('=', 2);
    if (key !== name || value === undefined) continue;
    try {
      return decodeURIComponent(value);
    } catch {
      return undefined;
    }
  }
  return undefined;
}
