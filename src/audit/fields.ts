/** The field policy: which parts of a record are told, left out, replaced by a keyed hash, or masked. Pure. */
import { createHmac } from 'node:crypto';

export type FieldAction = 'include' | 'drop' | 'hash' | 'mask';

export interface FieldRule {
  /** Names from the record downwards: `['resource', 'attributes', 'team']`. Lists are gone through. */
  readonly path: readonly string[];
  readonly action: FieldAction;
}

export interface Redact {
  /** No record tells attributes, sources, contexts or objects: they need not be written first. */
  readonly withoutInputs: boolean;
  /** The record as the rules leave it; `omitted` names what they altered. */
  record(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** A correlation id; `''`: it is left out. */
  requestId(id: string): string;
}

export interface RedactOptions {
  /** What requests bring along (attributes, sources, context, objects) is told where no rule says otherwise. */
  readonly attributes: boolean;
  readonly rules: readonly FieldRule[];
  /** For `hash`; `undefined`: no rule hashes. */
  readonly hashKey: Buffer | undefined;
}

/** What a request brought along, and may hold personal data. */
const INPUTS: readonly (readonly string[])[] = [
  ['resource', 'attributes'],
  ['resource', 'sources'],
  ['context'],
  ['objects', 'items'],
];
/** Fields that rules may name; the others tell what happened and when, and are no person's. */
export const REDACTABLE: readonly string[] = [
  'subject',
  'key_id',
  'request_id',
  'resource',
  'context',
  'objects',
  'actor',
  'via',
  'detail',
  'before',
  'after',
];
const MASK = '***';

interface Node {
  readonly action: FieldAction | undefined;
  readonly below: ReadonlyMap<string, Node>;
}
const LEAF: Node = { action: undefined, below: new Map() };

/** `undefined`: everything is told. */
export function compileRedaction(options: RedactOptions): Redact | undefined {
  const { attributes, rules } = options;
  if (attributes && rules.length === 0) return undefined;
  const byDefault = attributes ? [] : INPUTS.map((path) => ({ path, action: 'drop' as const }));
  // The last of one path counts: what a rule says elsewhere by itself goes before what is said of its like.
  const root = treeOf([...byDefault, ...rules.flatMap(alike), ...rules]);
  const hash = (value: unknown): string => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `hmac:${createHmac('sha256', options.hashKey ?? '')
      .update(text)
      .digest('base64url')}`;
  };
  const alter = (value: unknown, action: FieldAction): unknown => {
    if (action === 'drop') return undefined;
    if (action === 'mask') return MASK;
    return Array.isArray(value) ? value.map(hash) : hash(value);
  };
  /** `undefined`: nothing of it is told. */
  const apply = (
    value: unknown,
    node: Node,
    inherited: FieldAction,
    onAltered: () => void,
  ): unknown => {
    const action = node.action ?? inherited;
    const goesDown = node.below.size > 0 && typeof value === 'object' && value !== null;
    if (goesDown && Array.isArray(value))
      return value
        .map((item: unknown) => apply(item, node, inherited, onAltered))
        .filter((item) => item !== undefined);
    if (goesDown) {
      const told = fieldsOf(value, (name, field) =>
        apply(field, node.below.get(name) ?? LEAF, action, onAltered),
      );
      return Object.keys(told).length === 0 && action === 'drop' ? undefined : told;
    }
    if (action === 'include') return value;
    onAltered();
    return alter(value, action);
  };
  const idRule = root.below.get('request_id')?.action ?? 'include';
  return {
    withoutInputs: !attributes && rules.every(({ path }) => path[0] === 'request_id'),
    record(record): Readonly<Record<string, unknown>> {
      const omitted = new Set<string>();
      const told = fieldsOf(record, (name, value) => {
        const node = root.below.get(name);
        if (node === undefined) return value;
        const part = (below: string): string => (below === '' ? name : `${name}.${below}`);
        if (!TOLD_BY_PART.has(name) || typeof value !== 'object' || value === null)
          return apply(value, node, 'include', () => omitted.add(part('')));
        return fieldsOf(value, (below, field) =>
          apply(field, node.below.get(below) ?? LEAF, node.action ?? 'include', () =>
            omitted.add(part(below)),
          ),
        );
      });
      return omitted.size === 0 ? told : { ...told, omitted: [...omitted] };
    },
    requestId: (id) =>
      id === '' || idRule === 'include' ? id : ((alter(id, idRule) ?? '') as string),
  };
}

/** `omitted` names their parts: `resource.attributes`. */
const TOLD_BY_PART: ReadonlySet<string> = new Set(['resource', 'objects']);

/** Attributes of sources and of a Filter's objects are of the same kind: what is kept shut here is kept shut there. */
function alike({ path, action }: FieldRule): FieldRule[] {
  const [first, part, ...rest] = path;
  if (first !== 'resource') return [];
  if (part === undefined)
    return action === 'include' ? [] : [{ path: ['objects', 'items'], action }];
  const parts = part === 'attributes' ? ['attributes', 'sources'] : [part];
  return parts.flatMap((name) => [
    { path: ['resource', name, ...rest], action },
    // An object of which one part is told is no object: nothing is included there without its own rule.
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

function fieldsOf(
  value: object,
  told: (name: string, field: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]: [string, unknown]) => {
      const shown = told(name, field);
      return shown === undefined ? [] : [[name, shown] as const];
    }),
  );
}
