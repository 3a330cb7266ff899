/** Secrets in recorded or logged texts: Postern's own tokens and JSON Web Tokens, in any field. */

/** Replacement of a token, after the prefix that shows its kind. */
const REMOVED = '***';
/** Texts that can contain tokens: these characters, with this minimum length. */
const RUN = /[\w.-]{20,}/g;
/** `pstk.<tenant>.<key>.<secret>`, `psts.…`. */
const OWN = ['pstk.', 'psts.'] as const;
/** Start of a JSON object in base64url: the header of a JWT. */
const HEADER = 'eyJ';
/** `{"alg":"none"}`, in characters. */
const SHORTEST_HEADER = 16;

/** The text without tokens, in linear time. */
export function withoutTokens(text: string): string {
  // Most texts contain none and end here.
  if (!text.includes('pstk.') && !text.includes('psts.') && !text.includes(HEADER)) return text;
  return text.replaceAll(RUN, (run) => {
    const found = tokenIn(run);
    return found === undefined ? run : `${run.slice(0, found.at)}${found.kind}${REMOVED}`;
  });
}

/** Start and kind of a token; the rest of the text counts as part of it. Each part is examined once. */
function tokenIn(run: string): { readonly at: number; readonly kind: string } | undefined {
  const found = [
    ...OWN.map((kind) => ({ at: ownIn(run, kind), kind })),
    { at: jwtIn(run), kind: HEADER },
  ].filter(({ at }) => at >= 0);
  return found.sort((one, other) => one.at - other.at)[0];
}

/** The prefix, followed by two parts or more. */
function ownIn(run: string, prefix: string): number {
  const at = run.indexOf(prefix);
  return at >= 0 && run.includes('.', at + prefix.length) ? at : -1;
}

/** A header, followed by another part. */
function jwtIn(run: string): number {
  for (let at = run.indexOf(HEADER); at >= 0;) {
    const end = run.indexOf('.', at);
    if (end < 0) return -1;
    if (end - at >= SHORTEST_HEADER) return at;
    at = run.indexOf(HEADER, end);
  }
  return -1;
}
