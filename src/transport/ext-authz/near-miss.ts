/**
 * Paths that are a listed one to an upstream which folds: by case, by blanks that it trims, by Unicode's compatibility
 * forms, by a slash at the end. Such a path must not pass by a catch-all, whose rights are others.
 */
import createRouter from 'find-my-way';
import type { Route, Segment } from '../../config/routes.ts';

/** Finds the routes that a path would mean if it were folded. */
export interface FoldedRoutes {
  add(method: string, segments: readonly Segment[], host: string | undefined, route: Route): void;
  /** None where the path means itself. */
  find(method: string, path: string, host: string): readonly FoldedRoute[];
  /** Finds the routes that the path would mean with a slash more or less at its end. */
  findSlashed(method: string, path: string, host: string): readonly FoldedRoute[];
}

export interface FoldedRoute {
  readonly route: Route;
  readonly segments: readonly Segment[];
}

export function foldedRoutes(): FoldedRoutes {
  const router = createRouter({ caseSensitive: true, maxParamLength: Number.MAX_SAFE_INTEGER });
  const places = new Map<string, FoldedRoute[]>();
  /** No route has a letter that folding changes: what is folded already can mean no other one. */
  let allFolded = true;
  /** A route ends with a slash: a path without one may mean it. */
  let anySlashed = false;
  const lookUp = (method: string, path: string, host: string): readonly FoldedRoute[] => {
    const found = router.find(method as 'GET', path, { host });
    return found === null ? [] : (found.store as readonly FoldedRoute[]);
  };
  return {
    add(method, segments, host, route): void {
      allFolded &&= segments.every(
        (segment) => !('literal' in segment) || foldedText(segment.literal) === segment.literal,
      );
      const last = segments.at(-1);
      anySlashed ||= segments.length > 1 && last !== undefined && isEmpty(last);
      const path = `/${segments.map(placeOf).join('/')}`;
      const name = JSON.stringify([method, path, host]);
      const known = places.get(name);
      if (known !== undefined) {
        known.push({ route, segments });
        return;
      }
      const here = [{ route, segments }];
      places.set(name, here);
      const constraints = host === undefined ? {} : { constraints: { host } };
      // The library's type lists the methods of Node; others it refuses by itself.
      router.on(method as 'GET', path, constraints, () => {}, here);
    },
    find(method, path, host): readonly FoldedRoute[] {
      if (allFolded && !path.includes('%') && path.toLowerCase() === path) return [];
      return lookUp(method, foldedPath(path), host);
    },
    findSlashed(method, path, host): readonly FoldedRoute[] {
      if (!anySlashed && !path.endsWith('/') && !path.includes('%')) return [];
      const folded = foldedPath(path);
      if (!folded.endsWith('/')) {
        if (!anySlashed) return [];
        // The router lets a capture be empty: only a route that is written with the slash is one.
        return lookUp(method, `${folded}/`, host).filter(({ segments }) => {
          const last = segments.at(-1);
          return last !== undefined && isEmpty(last);
        });
      }
      const bare = folded.replace(/\/+$/, '');
      return bare === '' ? [] : lookUp(method, bare, host);
    },
  };
}

function foldedPath(path: string): string {
  return path
    .split('/')
    .map((segment) => encodeURIComponent(foldedText(decodeURIComponent(segment))))
    .join('/');
}

function isEmpty(segment: Segment): boolean {
  return 'literal' in segment && segment.literal === '';
}

/** Captures have no names here: routes that differ in them alone are at one place. */
function placeOf(segment: Segment, at: number): string {
  if ('literal' in segment) return foldedText(segment.literal);
  return segment.rest ? '*' : `:c${at}`;
}

/** In small letters, dot-less and long ones too; without blanks and what is not seen; in the form of compatibility. */
function foldedText(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\s\p{Z}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu, '')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/i\u0307/gu, 'i');
}

/**
 * What the captures of a route hold, where its plain segments stand in the path but for the case of ASCII letters.
 * @returns by name; `undefined`: they do not
 */
export function capturesIgnoringCase(
  path: string,
  segments: readonly Segment[],
): Readonly<Record<string, string>> | undefined {
  const parts = path.slice(1).split('/');
  const captures: Record<string, string> = {};
  for (const [at, segment] of segments.entries()) {
    const part = parts[at];
    if (part === undefined) return undefined;
    if ('literal' in segment) {
      if (part.toLowerCase() !== segment.literal.toLowerCase()) return undefined;
      continue;
    }
    const held = segment.rest ? parts.slice(at).join('/') : part;
    if (held === '') return undefined;
    captures[segment.capture] = decodeURIComponent(held);
    if (segment.rest) return captures;
  }
  return parts.length === segments.length ? captures : undefined;
}
