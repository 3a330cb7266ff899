/** Warnings on policy sets that are valid and likely not what was meant (ABAC-5, ABAC-6). */
import { READONLY } from '../engine/abac.ts';
import { resolveAction, type Catalog } from '../engine/action.ts';
import type { Scalar } from '../engine/model.ts';
import type { Source } from './document.ts';
import type { PolicySetBody } from './policy-set.ts';
import type { Problem } from './problem.ts';

type RuleBody = PolicySetBody['rules'][number];

/** A rule and where it stands, so that rules of several sets can be looked at together. */
interface Placed {
  readonly set: string;
  readonly rule: RuleBody;
  readonly source: Source;
  readonly path: readonly PropertyKey[];
}

/** Warnings within one set. */
export function lintPolicySet(
  source: Source,
  path: readonly PropertyKey[],
  body: PolicySetBody,
  catalog: Catalog,
): Problem[] {
  return lintTogether(place(source, path, body), catalog);
}

/** Warnings that only the attachment shows: rules of several sets, and the key's base role. */
export function lintKey(
  key: { readonly id: string; readonly role: string },
  sets: readonly { source: Source; path: readonly PropertyKey[]; body: PolicySetBody }[],
  catalog: Catalog,
): Problem[] {
  const placed = sets.flatMap(({ source, path, body }) => place(source, path, body));
  const across = lintNullified(placed, catalog, (wide, narrow) => wide.set !== narrow.set);
  if (key.role !== 'default_allow') return across;
  const nullified = placed
    .filter(({ rule }) => rule.effect === 'allow' && rule.attributes !== undefined)
    .map((narrow) =>
      warn(
        narrow,
        `rule ${narrow.rule.id} restricts nothing on key ${key.id}: its base role default_allow shows every object; make the key default_deny`,
      ),
    );
  return [...across, ...nullified];
}

function lintTogether(placed: readonly Placed[], catalog: Catalog): Problem[] {
  return [
    ...lintNullified(placed, catalog, () => true),
    ...placed.flatMap(lintBareVerbs),
    ...placed.flatMap((one) => lintRule(one, catalog)),
    ...placed.flatMap((one) => lintShadowed(one, placed, catalog)),
  ];
}

function place(source: Source, path: readonly PropertyKey[], body: PolicySetBody): Placed[] {
  return body.rules.map((rule, index) => ({
    set: body.name,
    rule,
    source,
    path: [...path, 'rules', index],
  }));
}

/** ABAC-5: an unconstrained allow for the same action makes every object visible. */
function lintNullified(
  placed: readonly Placed[],
  catalog: Catalog,
  pairs: (wide: Placed, narrow: Placed) => boolean,
): Problem[] {
  const allows = placed.filter(({ rule }) => rule.effect === 'allow');
  return allows
    .filter(({ rule }) => rule.attributes !== undefined)
    .flatMap((narrow) => {
      const wide = allows.find(
        (other) =>
          other.rule.attributes === undefined &&
          pairs(other, narrow) &&
          overlap(other.rule, narrow.rule, catalog) !== undefined,
      );
      return wide === undefined
        ? []
        : [
            warn(
              narrow,
              `rule ${narrow.rule.id} restricts nothing for ${overlap(wide.rule, narrow.rule, catalog) ?? ''}: rule ${wide.set}/${wide.rule.id} allows it without attributes; constrain that rule too, or drop the action from it`,
            ),
          ];
    });
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
function lintShadowed(placed: Placed, all: readonly Placed[], catalog: Catalog): Problem[] {
  const { rule } = placed;
  const denies = all.filter(
    (other) =>
      other !== placed && other.rule.effect === 'deny' && other.rule.attributes === undefined,
  );
  const earlier = (other: Placed): boolean => all.indexOf(other) < all.indexOf(placed);
  const covered = rule.actions.every((name) =>
    denies.some(
      (deny) =>
        (rule.effect === 'allow' || rule.attributes !== undefined || earlier(deny)) &&
        coversAction(deny.rule, name, catalog),
    ),
  );
  if (covered)
    return [
      warn(
        placed,
        `rule ${rule.id} can never decide: its actions are denied without attributes in the same set; remove one of the two`,
      ),
    ];
  const twin = all.find(
    (other) => earlier(other) && other.rule.effect === rule.effect && same(other.rule, rule),
  );
  return twin === undefined
    ? []
    : [warn(placed, `rule ${rule.id} says what rule ${twin.rule.id} says: remove one of the two`)];
}

function same(one: RuleBody, other: RuleBody): boolean {
  return form(one) === form(other);
}

/** A rule's meaning as text, whatever the order it is written in. */
function form({ actions, attributes = {} }: RuleBody): string {
  const text = (values: readonly Scalar[]): string[] =>
    [...new Set(values.map((value) => JSON.stringify(value)))].toSorted();
  const constraints = Object.entries(attributes).map(([key, values]) => [key, ...text(values)]);
  return JSON.stringify([text(actions), constraints.map((c) => JSON.stringify(c)).toSorted()]);
}

function coversAction(rule: RuleBody, name: string, catalog: Catalog): boolean {
  return (
    rule.actions.includes(name) ||
    (rule.actions.includes(READONLY) && resolveAction(catalog, name, '')?.readonly === true)
  );
}

/** An action that both rules name, by name or by the macro; `undefined`: none. */
function overlap(one: RuleBody, other: RuleBody, catalog: Catalog): string | undefined {
  if (one.actions.includes(READONLY) && other.actions.includes(READONLY)) return READONLY;
  return (
    other.actions.find((name) => coversAction(one, name, catalog)) ??
    one.actions.find((name) => coversAction(other, name, catalog))
  );
}

function warn({ source, path }: Placed, message: string): Problem {
  return source.problem(path, message, 'warning');
}
