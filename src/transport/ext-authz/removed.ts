/** Which headers of a request Envoy takes away before the upstream sees it. */
import type { HttpQuestion } from './codec.ts';

/**
 * The names to remove, without those that are set anew. A server that keeps headers as CGI does takes
 * `x_postern_subject` for `x-postern-subject`: what a client sends under such a name goes with it.
 * @param kept headers that stay as the client sent them, and by which it was found out who asks
 */
export function removedHeaders(
  { headers }: HttpQuestion,
  remove: Set<string>,
  set: readonly (readonly [name: string, value: string])[],
  kept: readonly string[],
): string[] {
  const names = [...remove, ...set.map(([name]) => name), ...kept];
  // A name has a twin where one of the two has an underscore.
  const all = names.some(hasUnderscore);
  const odd = [...headers.keys()].filter((name) => all || hasUnderscore(name));
  if (odd.length > 0) {
    const meant = new Set(names.map(withHyphens));
    for (const name of odd)
      if (meant.has(withHyphens(name)) && !kept.includes(name)) remove.add(name);
  }
  return [...remove].filter((name) => !set.some(([other]) => other === name));
}

function hasUnderscore(name: string): boolean {
  return name.includes('_');
}

function withHyphens(name: string): string {
  return name.replaceAll('_', '-');
}
