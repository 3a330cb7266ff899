/** Which headers of a request Envoy takes away before the upstream sees it. */
import type { HttpQuestion } from './codec.ts';

/**
 * The names to remove, without those that are set anew. A server that keeps headers as CGI does takes
 * `x_postern_subject` for `x-postern-subject`: what a client sends under such a name goes with it.
 */
export function removedHeaders(
  { headers }: HttpQuestion,
  remove: Set<string>,
  set: readonly (readonly [name: string, value: string])[],
): string[] {
  const odd = [...headers.keys()].filter((name) => name.includes('_'));
  if (odd.length > 0) {
    const meant = new Set([...remove, ...set.map(([name]) => name)].map(withHyphens));
    for (const name of odd) if (meant.has(withHyphens(name))) remove.add(name);
  }
  return [...remove].filter((name) => !set.some(([other]) => other === name));
}

function withHyphens(name: string): string {
  return name.replaceAll('_', '-');
}
