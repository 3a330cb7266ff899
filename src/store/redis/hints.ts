/** Hints: what a commit publishes, so that other instances read again what it changed. Nobody depends on them. */
import { KINDS } from '../format/kinds.ts';
import type { Commit, FactKey, OnChange } from '../store.ts';
import type { Connections } from './connections.ts';

/** Users and keys that a hint names: it goes to all instances, and to all nodes of a cluster. */
const MAX_HINTED = 8;

/** A message of the channel: the tenant, and what was changed, each by the number of its kind. */
type Hint = readonly [tenant: string, ...changed: (readonly [kind: number, id: string])[]];

/** The users and keys that a commit changes, if they are few: others keep these, and read them again at once. */
export function hintedKeys({ changes }: Commit): readonly FactKey[] {
  const cached = changes.filter(({ kind }) => kind === 'user' || kind === 'key');
  return cached.length > MAX_HINTED ? [] : cached.map(({ kind, id }) => ({ kind, id }));
}

export function hintText(tenant: string, keys: readonly FactKey[]): string {
  const numbered = keys.map(({ kind, id }) => [KINDS.indexOf(kind), id] as const);
  return JSON.stringify([tenant, ...numbered] satisfies Hint);
}

/** Calls back for the commits of this instance and for the hints of others. */
export class HintListeners {
  readonly #connections: Connections;
  readonly #listeners = new Set<OnChange>();

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** @returns what removes the listener */
  add(onChange: OnChange): () => void {
    this.#listeners.add(onChange);
    this.#connections.subscribe((hint) => this.notify(...parseHint(hint)));
    return () => void this.#listeners.delete(onChange);
  }

  notify(...change: Parameters<OnChange>): void {
    for (const listener of this.#listeners) listener(...change);
  }

  clear(): void {
    this.#listeners.clear();
  }
}

/** Whoever may publish may send anything: a text that is no hint is read as a tenant's name, as hints once were. */
function parseHint(text: string | undefined): Parameters<OnChange> {
  if (text === undefined) return [undefined];
  try {
    const parsed: unknown = JSON.parse(text);
    const [tenant, ...changed] = Array.isArray(parsed) ? (parsed as unknown[]) : [];
    if (typeof tenant === 'string' && changed.length <= MAX_HINTED) {
      const keys = changed.map(hintedKey);
      if (keys.every((key) => key !== undefined)) return [tenant, keys];
    }
  } catch {
    // No JSON.
  }
  return [text];
}

/** `undefined`: it names no record. */
function hintedKey(changed: unknown): FactKey | undefined {
  const [number, id] = Array.isArray(changed) ? (changed as unknown[]) : [];
  const kind = typeof number === 'number' ? KINDS[number] : undefined;
  return kind !== undefined && typeof id === 'string' ? { kind, id } : undefined;
}
