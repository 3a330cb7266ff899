/** Secrets in texts that are recorded or logged: tokens of our own forms and JSON Web Tokens, wherever somebody put them. */

/** What stands in the place of a token, behind the part of it that tells what it was. */
const REMOVED = '***';
/** Texts in which tokens can be: they hold nothing else, and are this long at least. */
const RUN = /[\w.-]{20,}/g;
/** `pstk.<tenant>.<key>.<secret>`, `psts.…`. */
const OWN = ['pstk.', 'psts.'] as const;
/** The beginning of a JSON object in base64url: the header of a JWT. */
const HEADER = 'eyJ';
/** `{"alg":"none"}`, in characters. */
const SHORTEST_HEADER = 16;

/** The text without tokens. It takes time by the length of the text, whatever it holds. */
export function withoutTokens(text: string): string {
  // Most texts hold none: this is all that they cost.
  if (!text.includes('pstk.') && !text.includes('psts.') && !text.includes(HEADER)) return text;
  return text.replaceAll(RUN, (run) => {
    const found = tokenIn(run);
    return found === undefined ? run : `${run.slice(0, found.at)}${found.kind}${REMOVED}`;
  });
}

/** Where a token begins, and what kind it is; all that follows is taken for a part of it. Each part is looked at once. */
function tokenIn(run: string): { readonly at: number; readonly kind: string } | undefined {
  const found = [
    ...OWN.map((kind) => ({ at: ownIn(run, kind), kind })),
    { at: jwtIn(run), kind: HEADER },
  ].filter(({ at }) => at >= 0);
  return found.sort((one, other) => one.at - other.at)[0];
}

/** The prefix, with two parts behind it or more. */
function ownIn(run: string, prefix: string): number {
  const at = run.indexOf(prefix);
  return at >= 0 && run.includes('.', at + prefix.length) ? at : -1;
}

/** A header, with another part behind it. */
function jwtIn(run: string): number {
  for (let at = run.indexOf(HEADER); at >= 0;) {
    const end = run.indexOf('.', at);
    if (end < 0) return -1;
    if (end - at >= SHORTEST_HEADER) return at;
    at = run.indexOf(HEADER, end);
  }
  return -1;
}
