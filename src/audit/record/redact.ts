/** The field policy: which parts of a record are kept, left out, replaced by a keyed hash, or masked. Pure. */
import { createHmac } from 'node:crypto';
import { INPUTS, REDACTED_BY_FIELD } from '../fields.ts';

export type FieldAction = 'include' | 'drop' | 'hash' | 'mask';

export interface FieldRule {
  /** Names from the record downwards: `['resource', 'attributes', 'team']`. Lists are gone through. */
  readonly path: readonly string[];
  readonly action: FieldAction;
}

export interface Redact {
  /** No record keeps attributes, sources, contexts or objects: they need not be written first. */
  readonly withoutInputs: boolean;
  /** The record as the rules leave it; `omitted` names what they altered. */
  record(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** What the rules do with the list of a Filter's objects: nothing, alter each object, or replace the list as a whole. */
  readonly items: 'keep' | 'each' | 'replace';
  /** One object of a Filter, where `items` is `each`. */
  item(item: Readonly<Record<string, unknown>>): RedactedItem;
  /** A correlation id; `''`: it is left out. */
  requestId(id: string): string;
}

export interface RedactedItem {
  /** `undefined`: the object is left out. */
  readonly value: unknown;
  readonly isAltered: boolean;
}

export interface RedactOptions {
  /** What requests bring along (attributes, sources, context, objects) is kept where no rule says otherwise. */
  readonly attributes: boolean;
  readonly rules: readonly FieldRule[];
  /** For `hash`; `undefined`: no rule hashes. */
  readonly hashKey: Buffer | undefined;
}

const MASK = '***';

interface Node {
  readonly action: FieldAction | undefined;
  readonly below: ReadonlyMap<string, Node>;
}
const LEAF: Node = { action: undefined, below: new Map() };

/** `undefined`: everything is kept. */
export function compileRedaction(options: RedactOptions): Redact | undefined {
  const { attributes, rules } = options;
  return attributes && rules.length === 0 ? undefined : new Redaction(options);
}

class Redaction implements Redact {
  readonly withoutInputs: boolean;
  readonly #root: Node;
  readonly #hashKey: Buffer | undefined;
  readonly #idAction: FieldAction;
  readonly items: 'keep' | 'each' | 'replace';
  readonly #items: Node;
  readonly #itemsAction: FieldAction;

  constructor({ attributes, rules, hashKey }: RedactOptions) {
    const byDefault = attributes ? [] : INPUTS.map((path) => ({ path, action: 'drop' as const }));
    // The last of one path counts: what a rule says elsewhere by itself goes before what is said of its like.
    this.#root = treeOf([...byDefault, ...rules.flatMap(alike), ...rules]);
    this.#hashKey = hashKey;
    this.#idAction = this.#root.below.get('request_id')?.action ?? 'include';
    const objects = this.#root.below.get('objects') ?? LEAF;
    this.#items = objects.below.get('items') ?? LEAF;
    this.#itemsAction = objects.action ?? 'include';
    const action = this.#items.action ?? this.#itemsAction;
    const isEach = this.#items.below.size > 0 || action === 'hash';
    this.items = isEach ? 'each' : action === 'include' ? 'keep' : 'replace';
    this.withoutInputs = !attributes && rules.every(({ path }) => path[0] === 'request_id');
  }

  record(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const omitted = new Set<string>();
    const kept = fieldsOf(record, (name, value) => {
      const node = this.#root.below.get(name);
      if (node === undefined) return value;
      if (!REDACTED_BY_FIELD.has(name) || typeof value !== 'object' || value === null)
        return this.#apply(value, node, 'include', () => omitted.add(name));
      return fieldsOf(value, (below, field) =>
        this.#apply(field, node.below.get(below) ?? LEAF, node.action ?? 'include', () =>
          omitted.add(`${name}.${below}`),
        ),
      );
    });
    return omitted.size === 0 ? kept : { ...kept, omitted: [...omitted] };
  }

  item(item: Readonly<Record<string, unknown>>): RedactedItem {
    let isAltered = false;
    const value = this.#apply(item, this.#items, this.#itemsAction, () => (isAltered = true));
    return { value, isAltered };
  }

  requestId(id: string): string {
    if (id === '' || this.#idAction === 'include') return id;
    // Of a text, what is altered is a text.
    return (this.#alter(id, this.#idAction) ?? '') as string;
  }

  /** `undefined`: nothing of it is kept. @param onAltered called for each value that is altered or left out */
  #apply(value: unknown, node: Node, inherited: FieldAction, onAltered: () => void): unknown {
    const action = node.action ?? inherited;
    const goesDown = node.below.size > 0 && typeof value === 'object' && value !== null;
    if (goesDown && Array.isArray(value))
      return value
        .map((item: unknown) => this.#apply(item, node, inherited, onAltered))
        .filter((item) => item !== undefined);
    if (goesDown) {
      const kept = fieldsOf(value, (name, field) =>
        this.#apply(field, node.below.get(name) ?? LEAF, action, onAltered),
      );
      return Object.keys(kept).length === 0 && action === 'drop' ? undefined : kept;
    }
    if (action === 'include') return value;
    onAltered();
    return this.#alter(value, action);
  }

  #alter(value: unknown, action: Exclude<FieldAction, 'include'>): unknown {
    switch (action) {
      case 'drop':
        return undefined;
      case 'mask':
        return MASK;
      case 'hash':
        return Array.isArray(value)
          ? value.map((one: unknown) => this.#hash(one))
          : this.#hash(value);
    }
  }

  #hash(value: unknown): string {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const hash = createHmac('sha256', this.#hashKey ?? '').update(text);
    return `hmac:${hash.digest('base64url')}`;
  }
}

/** Attributes of sources and of a Filter's objects are of the same kind: a rule for one holds for the others. */
function alike({ path, action }: FieldRule): FieldRule[] {
  const [first, part, ...rest] = path;
  if (first !== 'resource') return [];
  if (part === undefined)
    return action === 'include' ? [] : [{ path: ['objects', 'items'], action }];
  const parts = part === 'attributes' ? ['attributes', 'sources'] : [part];
  return parts.flatMap((name) => [
    { path: ['resource', name, ...rest], action },
    // An object of which one part is kept is no object: nothing is included there without its own rule.
    ...(action === 'include' ? [] : [{ path: ['objects', 'items', name, ...rest], action }]),
  ]);
}

function treeOf(rules: readonly FieldRule[]): Node {
  const names = new Set(rules.flatMap(({ path }) => path.slice(0, 1)));
  const below = [...names].map((name): [string, Node] => [
    name,
    treeOf(
      rules
        .filter(({ path }) => path[0] === name)
        .map(({ path, action }) => ({ path: path.slice(1), action })),
    ),
  ]);
  const own = rules.findLast(({ path }) => path.length === 0);
  return { action: own?.action, below: new Map(below) };
}

/** @param change a field's new value; `undefined`: it is left out */
function fieldsOf(
  value: object,
  change: (name: string, field: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]: [string, unknown]) => {
      const changed = change(name, field);
      return changed === undefined ? [] : [[name, changed] as const];
    }),
  );
}
