/** Static tokens of those who call the service: who may ask at all, beside what they ask about. */
import { hash, timingSafeEqual } from 'node:crypto';

export interface CallerEntry {
  readonly name: string;
  /** SHA-256 of the token, hex. */
  readonly hash: string;
}

export interface Callers {
  /** Who has this token; `undefined`: nobody. */
  nameOf(token: string): string | undefined;
}

/** Longest token that is looked at, in characters. */
const MAX_TOKEN = 4_096;

/** What an entry keeps of a token: its SHA-256, hex. */
export function digest(token: string): string {
  return hash('sha256', token, 'hex');
}

/** @throws Error for an entry that is not usable: half a configuration must not start */
export function openCallers(entries: readonly CallerEntry[]): Callers {
  const problem = entries.map(entryProblem).find((found) => found !== undefined);
  if (problem !== undefined) throw new Error(problem);
  const known = entries.map(({ name, hash: hex }) => ({ name, bytes: Buffer.from(hex, 'hex') }));
  return {
    nameOf(token): string | undefined {
      if (token === '' || token.length > MAX_TOKEN) return undefined;
      const given = hash('sha256', token, 'buffer');
      let found: string | undefined;
      // All of them, found or not: the time must not tell which one it was.
      for (const { name, bytes } of known) if (timingSafeEqual(bytes, given)) found = name;
      return found;
    },
  };
}

function entryProblem(
  { name, hash: hex }: CallerEntry,
  at: number,
  all: readonly CallerEntry[],
): string | undefined {
  if (name === '') return `caller ${at + 1} has an empty name: give it one`;
  if (!/^[0-9a-fA-F]{64}$/.test(hex))
    return `caller \`${name}\`: hash is not the SHA-256 of a token: give 64 hex digits`;
  if (hex.toLowerCase() === digest(''))
    return `caller \`${name}\`: hash is that of the empty token: give the hash of a random one`;
  const other = all.slice(0, at).find((entry) => entry.hash.toLowerCase() === hex.toLowerCase());
  return other === undefined
    ? undefined
    : `callers \`${other.name}\` and \`${name}\` have the same hash: give each a token of its own`;
}
