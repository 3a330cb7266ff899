/** What a catalog that is read again allows that the last one did not. It is logged, because no policy was changed. */
import {
  accessOf,
  resolveAction,
  type Access,
  type Action,
  type Catalog,
} from '../engine/action.ts';

/** One sentence each, in the order of names; empty: it allows no more. What is not proved to be narrower counts as wider. */
export function catalogWidening(before: Catalog, after: Catalog): string[] {
  const names = new Set([...before.actions.keys(), ...after.actions.keys()]);
  const actions = [...names].sort().flatMap((name) => {
    const was = resolveAction(before, name, '');
    const is = resolveAction(after, name, '');
    if (is === undefined) return [];
    if (was === undefined) return [`action \`${name}\` is new`];
    return actionWidening(was, is).map((how) => `action \`${name}\`: ${how}`);
  });
  const types = new Set([...before.access.keys(), ...after.access.keys()]);
  const access = [...types].sort().flatMap((type) => {
    const [was, is] = [accessTo(before, type), accessTo(after, type)];
    if (isWithin(is, was)) return [];
    const gone = after.access.has(type) ? '' : ' was removed:';
    return [`resource type \`${type}\`:${gone} access ${textOf(was)} became ${textOf(is)}`];
  });
  const verbs = new Set([...before.satisfiedBy.keys(), ...after.satisfiedBy.keys()]);
  const implied = [...verbs].sort().flatMap((verb) => {
    const old = new Set(before.satisfiedBy.get(verb) ?? [verb]);
    const more = (after.satisfiedBy.get(verb) ?? [verb]).filter((other) => !old.has(other));
    return more.length === 0 ? [] : [`verb \`${verb}\` is implied by ${more.join(', ')} too`];
  });
  return [...actions, ...access, ...implied];
}

function actionWidening(was: Action, is: Action): string[] {
  const found: string[] = [];
  // Either way: `readonly` in an allow covers more, or in a deny less (ACT-5).
  if (was.readonly !== is.readonly)
    found.push(`readonly is ${is.readonly}, which rules on \`readonly\` follow`);
  if (!was.objectScoped && is.objectScoped) found.push('it is object_scoped');
  if (is.minLevel < was.minLevel)
    found.push(`min_level ${was.minLevel} became ${is.minLevel < 0 ? 'none' : is.minLevel}`);
  const verbs = is.verbs.filter((verb) => !was.verbs.includes(verb));
  if (is.verbs.length > 0 && (was.resource !== is.resource || verbs.length > 0))
    found.push(`permission ${permission(was)} became ${permission(is)}`);
  if (is.treeBit !== 0 && is.treeBit !== was.treeBit) found.push('its tree action is another');
  if (is.acl !== undefined && is.acl !== was.acl)
    found.push(`acl ${was.acl ?? 'none'} became ${is.acl}`);
  return found;
}

function permission({ resource, verbs }: Action): string {
  return verbs.length === 0 ? 'none' : `${resource}:${verbs.join('|')}`;
}

function accessTo(catalog: Catalog, type: string): Access {
  const action = resolveAction(catalog, 'read', '');
  // A bare verb is an action of every catalog (ACT-3).
  return action === undefined ? { any: [] } : accessOf(catalog, action, type);
}

/** Models that are tried in all combinations, at most: 2 to the power of them. */
const MAX_MODELS = 12;

/** Whether whatever evidence satisfies the first expression satisfies the other. */
function isWithin(inner: Access, outer: Access): boolean {
  const models = [...new Set([...modelsOf(inner), ...modelsOf(outer)])];
  if (models.length > MAX_MODELS) return JSON.stringify(inner) === JSON.stringify(outer);
  for (let bits = 0; bits < 1 << models.length; bits++) {
    const has = (model: string): boolean => (bits & (1 << models.indexOf(model))) !== 0;
    if (holds(inner, has) && !holds(outer, has)) return false;
  }
  return true;
}

function modelsOf(access: Access): string[] {
  if (typeof access === 'string') return [access];
  return ('any' in access ? access.any : access.all).flatMap(modelsOf);
}

function holds(access: Access, has: (model: string) => boolean): boolean {
  if (typeof access === 'string') return has(access);
  return 'any' in access
    ? access.any.some((part) => holds(part, has))
    : access.all.every((part) => holds(part, has));
}

function textOf(access: Access): string {
  if (typeof access === 'string') return access;
  const [word, parts] = 'any' in access ? ['any', access.any] : ['all', access.all];
  return `${word}(${parts.map(textOf).join(', ')})`;
}
