/**
 * The one reading of a request's target and host, for routing and audit alike. What two servers could read
 * differently is refused, never repaired: whatever is decided on here is what the upstream will see.
 */

/** A request in its one form. */
export interface Canonical {
  readonly method: string;
  /** Lower case, without the port. */
  readonly host: string;
  /** As it was sent, and as every server reads it; begins with `/`. */
  readonly path: string;
}

/** Why a request has no one form; one sentence without what was sent. */
export interface Ambiguous {
  readonly problem: string;
}

/** Longest target that is read, characters. */
const MAX_TARGET = 8_192;

export function canonicalRequest(request: {
  readonly method: string;
  readonly path: string;
  readonly host: string;
}): Canonical | Ambiguous {
  const { method } = request;
  if (!/^[A-Z]{1,32}$/.test(method)) return { problem: 'the method is not in capital letters' };
  const host = canonicalHost(request.host);
  if (typeof host !== 'string') return host;
  const path = canonicalPath(request.path);
  return typeof path === 'string' ? { method, host, path } : path;
}

function canonicalHost(host: string): string | Ambiguous {
  // Looked at before it is folded: a Kelvin sign folds to a k.
  const bare = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.exec(host)?.[1]?.toLowerCase();
  if (bare === undefined) return { problem: 'the host is empty or has characters of no host' };
  if (/^\.|\.\.|\.$/.test(bare))
    return { problem: 'the host has an empty label or a dot at its end' };
  // Only addresses and encoded names have several spellings: [0:0::1], 127.1, 0x7f000001, 010.0.0.1.
  if (/^\[|(^|\.)(\d+|0x[0-9a-f]*)$|(^|\.)xn--/.test(bare) && urlHost(bare) !== bare)
    return {
      problem: 'the host is an address or an encoded name in another than its one spelling',
    };
  return bare;
}

function urlHost(host: string): string | undefined {
  try {
    return new URL(`http://${host}/`).hostname;
  } catch {
    return undefined;
  }
}

/** Everything that a path segment may hold as it is (RFC 3986 pchar), but `;`, which some servers cut at. */
const PLAIN = /^[A-Za-z0-9\-._~!$&'()*+,=:@/]*$/;

function canonicalPath(target: string): string | Ambiguous {
  if (target.length > MAX_TARGET) return { problem: 'the target is too long' };
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  // Absolute and authority forms, and `*`, name what is asked for in another way.
  if (!path.startsWith('/')) return { problem: 'the target does not begin with a slash' };
  if (/[\s\\#]|[^\x21-\x7e]/.test(target))
    return { problem: 'the target has a blank, a backslash, a # or a character that is not ASCII' };
  if (path.includes('//')) return { problem: 'the path has an empty segment' };
  const decoded = path.replace(/%[0-9A-Fa-f]{2}/g, '');
  if (decoded.includes('%')) return { problem: 'the path has a broken percent-encoding' };
  if (decoded.includes(';')) return { problem: 'the path has a parameter after ;' };
  if (!PLAIN.test(decoded)) return { problem: 'the path has a character that must be encoded' };
  if (path.includes('%')) {
    const problem = encodingProblem(path);
    if (problem !== undefined) return { problem };
  }
  for (const segment of path.split('/'))
    if (segment.endsWith('.')) return { problem: 'a segment of the path ends in a dot' };
  return path;
}

/** Octets whose encoded and plain forms some servers treat alike and others do not. */
function encodingProblem(path: string): string | undefined {
  for (const [octet] of path.matchAll(/%[0-9A-Fa-f]{2}/g)) {
    const code = Number.parseInt(octet.slice(1), 16);
    const character = String.fromCharCode(code);
    if (code < 0x20 || code === 0x7f) return 'the path has an encoded control character';
    if (/[A-Za-z0-9\-._~/\\%;?#]/.test(character))
      return 'the path has an encoded letter, digit, dot, slash or another character that changes its meaning';
  }
  try {
    const text = decodeURIComponent(path);
    if (text.normalize('NFC') !== text || /\p{Cc}/u.test(text))
      return 'the path is not in Unicode normal form C';
    return text.split('/').some(looksLikeSyntax)
      ? 'the path has a look-alike of a slash, a dot or another character of its syntax'
      : undefined;
  } catch {
    return 'the path has encoded octets that are not UTF-8';
  }
}

/** A wide slash is a slash to a server that folds look-alikes (NFKC, best fit). */
function looksLikeSyntax(segment: string): boolean {
  const folded = segment.normalize('NFKC');
  return folded !== segment && /[/\\%?#;]|^\.{1,2}$/.test(folded);
}
