/** Warnings on policy sets that are valid and likely not what was meant (ABAC-5, ABAC-6). */
import { READONLY } from '../engine/abac.ts';
import { resolveAction, type Catalog } from '../engine/action.ts';
import type { Scalar } from '../engine/model.ts';
import type { Source } from './source.ts';
import type { PolicySetBody } from './policy-set.ts';
import type { Problem } from './problem.ts';

type RuleBody = PolicySetBody['rules'][number];

/** A rule and where it stands, so that rules of several sets can be looked at together. */
interface Placed {
  readonly set: string;
  readonly rule: RuleBody;
  readonly source: Source;
  readonly path: readonly PropertyKey[];
  /** Its place among those that are looked at together. */
  readonly order: number;
  readonly names: ReadonlySet<string>;
}

/** A set as it stands in a file. */
export interface PlacedSet {
  readonly source: Source;
  readonly path: readonly PropertyKey[];
  readonly body: PolicySetBody;
}

/** Warnings that are listed of one set or key; beyond them their number. */
const MAX_WARNINGS = 200;

/** Warnings within one set. */
export function lintPolicySet(
  source: Source,
  path: readonly PropertyKey[],
  body: PolicySetBody,
  catalog: Catalog,
): Problem[] {
  return bounded(lintTogether(place([{ source, path, body }]), catalog), source, path);
}

/** Warnings that only the attachment shows: rules of several sets, and the key's base role. */
export function lintKey(
  key: { readonly id: string; readonly role: string },
  sets: readonly PlacedSet[],
  catalog: Catalog,
): Problem[] {
  const placed = place(sets);
  const across = lintNullified(placed, catalog, true);
  const nullified =
    key.role === 'default_allow'
      ? placed.filter(isNarrow).map((narrow) => unrestricted(narrow, key))
      : [];
  const [first] = sets;
  return first === undefined ? [] : bounded([...across, ...nullified], first.source, first.path);
}

function unrestricted(narrow: Placed, key: { readonly id: string }): Problem {
  return warn(
    narrow,
    `rule ${narrow.rule.id} restricts nothing on key ${key.id}: its base role default_allow shows every object; make the key default_deny`,
  );
}

function bounded(problems: Problem[], source: Source, path: readonly PropertyKey[]): Problem[] {
  const more = problems.length - MAX_WARNINGS;
  if (more <= 0) return problems;
  const rest = source.problem(path, `there are ${more} more warnings like these`, 'warning');
  return [...problems.slice(0, MAX_WARNINGS), rest];
}

function lintTogether(placed: readonly Placed[], catalog: Catalog): Problem[] {
  const denies = indexOf(placed.filter(isOpenDeny));
  const twins = new Map<string, Placed>();
  return [
    ...lintNullified(placed, catalog, false),
    ...placed.flatMap(lintBareVerbs),
    ...placed.flatMap((one) => lintRule(one, catalog)),
    ...placed.flatMap((one) => lintShadowed(one, denies, twins, catalog)),
  ];
}

function place(sets: readonly PlacedSet[]): Placed[] {
  let order = 0;
  return sets.flatMap(({ source, path, body }) =>
    body.rules.map((rule, index) => ({
      set: body.name,
      rule,
      source,
      path: [...path, 'rules', index],
      order: order++,
      names: new Set(rule.actions),
    })),
  );
}

function isNarrow({ rule }: Placed): boolean {
  return rule.effect === 'allow' && rule.attributes !== undefined;
}

function isOpenDeny({ rule }: Placed): boolean {
  return rule.effect === 'deny' && rule.attributes === undefined;
}

/** The first rule that names an action, and the first one of another set. */
interface Namers {
  readonly first: Placed;
  other: Placed | undefined;
}

/** Rules by the actions that they name: with it, each rule is looked at once. */
type Index = ReadonlyMap<string, Namers>;

function indexOf(
  placed: readonly Placed[],
  names: (one: Placed) => Iterable<string> = (one) => one.names,
): Index {
  const index = new Map<string, Namers>();
  for (const one of placed)
    for (const name of names(one)) {
      const entry = index.get(name);
      if (entry === undefined) index.set(name, { first: one, other: undefined });
      else if (entry.other === undefined && entry.first.set !== one.set) entry.other = one;
    }
  return index;
}

/**
 * ABAC-5: an unconstrained allow for the same action makes every object visible.
 * @param across rules of different sets alone
 */
function lintNullified(placed: readonly Placed[], catalog: Catalog, across: boolean): Problem[] {
  const wide = placed.filter(
    ({ rule }) => rule.effect === 'allow' && rule.attributes === undefined,
  );
  if (wide.length === 0) return [];
  const byName = indexOf(wide);
  // Under the macro: who names an action that it stands for.
  const byMacro = indexOf(wide, (one) =>
    one.names.has(READONLY) || firstReadonly(one, catalog) !== undefined ? [READONLY] : [],
  );
  return placed.filter(isNarrow).flatMap((narrow) => {
    const found = firstOf(
      [...narrow.names].flatMap((name) => [
        byName.get(name),
        ...(name === READONLY ? [byMacro.get(READONLY)] : []),
        ...(isReadonly(name, catalog) ? [byName.get(READONLY)] : []),
      ]),
      (namers) => (!across || namers.first.set !== narrow.set ? namers.first : namers.other),
    );
    if (found === undefined) return [];
    return [
      warn(
        narrow,
        `rule ${narrow.rule.id} restricts nothing for ${overlap(found, narrow, catalog)}: rule ${found.set}/${found.rule.id} allows it without attributes; constrain that rule too, or drop the action from it`,
      ),
    ];
  });
}

/** The earliest of the rules that are picked. */
function firstOf(
  candidates: readonly (Namers | undefined)[],
  pick: (namers: Namers) => Placed | undefined,
): Placed | undefined {
  let best: Placed | undefined;
  for (const namers of candidates) {
    const one = namers && pick(namers);
    if (one !== undefined && (best === undefined || one.order < best.order)) best = one;
  }
  return best;
}

/** ACT-3: a bare verb is the name of a request without a resource type only. */
function lintBareVerbs(placed: Placed): Problem[] {
  const { rule } = placed;
  const bare = rule.actions.filter((name) => name !== READONLY && !/[.:]/.test(name));
  if (bare.length === 0) return [];
  return [
    warn(
      placed,
      `rule ${rule.id} matches ${bare.join(', ')} only in requests without a resource type: name \`type:${bare[0] ?? ''}\` for each type that is meant`,
    ),
  ];
}

function lintRule(placed: Placed, catalog: Catalog): Problem[] {
  const { rule } = placed;
  const { attributes } = rule;
  if (attributes === undefined) return [];
  const problems: Problem[] = [];
  if (rule.effect === 'allow') {
    const mutating = rule.actions.filter((name) => {
      const action = resolveAction(catalog, name, '');
      return name !== READONLY && action?.readonly === false && !action.objectScoped;
    });
    if (mutating.length > 0)
      problems.push(
        warn(
          placed,
          `rule ${rule.id} never permits ${mutating.join(', ')}: an allow with attributes is ignored on an action that mutates; mark the action object_scoped in the catalog, or allow it without attributes`,
        ),
      );
  } else {
    const keys = Object.keys(attributes).join(', ');
    problems.push(
      warn(
        placed,
        `rule ${rule.id} hides only objects whose ${keys} equals its values exactly: an object with a further value escapes it; prefer an allow with attributes on a default_deny key`,
      ),
    );
  }
  return problems;
}

/** A rule that can never match or never decide: an unconstrained deny of the same set stands before all its actions. */
function lintShadowed(
  placed: Placed,
  denies: Index,
  twins: Map<string, Placed>,
  catalog: Catalog,
): Problem[] {
  const { rule, order } = placed;
  const isOpen = isOpenDeny(placed);
  // Of several unconstrained denies the first one decides.
  const counts = (namers: Namers | undefined): boolean =>
    namers !== undefined && (!isOpen || namers.first.order < order);
  const covered = rule.actions.every(
    (name) =>
      counts(denies.get(name)) || (isReadonly(name, catalog) && counts(denies.get(READONLY))),
  );
  const says = `${rule.effect} ${form(rule)}`;
  const twin = twins.get(says);
  if (twin === undefined) twins.set(says, placed);
  if (covered)
    return [
      warn(
        placed,
        `rule ${rule.id} can never decide: its actions are denied without attributes in the same set; remove one of the two`,
      ),
    ];
  return twin === undefined
    ? []
    : [warn(placed, `rule ${rule.id} says what rule ${twin.rule.id} says: remove one of the two`)];
}

/** A rule's meaning as text, whatever the order it is written in. */
function form({ actions, attributes = {} }: RuleBody): string {
  const text = (values: readonly Scalar[]): string[] =>
    [...new Set(values.map((value) => JSON.stringify(value)))].toSorted();
  const constraints = Object.entries(attributes).map(([key, values]) => [key, ...text(values)]);
  return JSON.stringify([text(actions), constraints.map((c) => JSON.stringify(c)).toSorted()]);
}

function isReadonly(name: string, catalog: Catalog): boolean {
  return name !== READONLY && resolveAction(catalog, name, '')?.readonly === true;
}

const readonlyNames = new WeakMap<Placed, string | null>();

/** The first readonly action that a rule names. */
function firstReadonly(placed: Placed, catalog: Catalog): string | undefined {
  const cached = readonlyNames.get(placed);
  if (cached !== undefined) return cached ?? undefined;
  const found = placed.rule.actions.find((name) => isReadonly(name, catalog));
  readonlyNames.set(placed, found ?? null);
  return found;
}

/** An action that both rules name, by name or by the macro. */
function overlap(one: Placed, other: Placed, catalog: Catalog): string {
  const macro = one.names.has(READONLY);
  if (macro && other.names.has(READONLY)) return READONLY;
  return (
    other.rule.actions.find(
      (name) => one.names.has(name) || (macro && isReadonly(name, catalog)),
    ) ??
    firstReadonly(one, catalog) ??
    ''
  );
}

function warn({ source, path }: Placed, message: string): Problem {
  return source.problem(path, message, 'warning');
}
