/** Explain's layers of a subject: the level, and the evidence of each model, from the records. */
import { NO_LEVEL, accessOf, type Access, type Action } from './action.ts';
import type { Facts } from './decision.ts';
import type { Fact, Layer } from './explanation.ts';
import { MODELS, type Model, type Request } from './model.ts';
import { MODEL_RULES } from './models/models.ts';
import type { ChainTo } from './models/rules.ts';
import type { Meter, Steps } from './steps.ts';
import type { SubjectFacts } from './subject.ts';

/** `min_level`, the three models and the `access` expression over them (RBAC-3, COMB-3). */
export function* evidenceLayers(
  subject: SubjectFacts,
  facts: Facts,
  action: Action,
  request: Request,
  meter: Meter,
): Steps<Layer[]> {
  const { resource } = request;
  const asked = { subject, action };
  const chainTo = lazyChains(subject, meter);
  const models: Layer[] = [];
  const allowing = new Set<Model>();
  for (const name of MODELS) {
    const facts = yield* MODEL_RULES[name].facts(asked, resource, chainTo, meter);
    if (facts.length > 0) allowing.add(name);
    const summary =
      facts.length > 0
        ? `${facts.length} fact(s) allow it`
        : MODEL_RULES[name].silence(asked, resource);
    models.push({ name, verdict: facts.length > 0 ? 'allow' : 'silent', summary, facts });
  }
  const access = accessOf(facts.catalog, action, request.resource.type);
  const granted = evaluate(access, (model) => allowing.has(model));
  const level = levelLayer(subject, action);
  const isLevelReached = level?.verdict !== 'deny';
  const superuser: Fact[] = subject.superuser
    ? [{ kind: 'superuser', text: `${subject.subject.id} is a superuser` }]
    : [];
  return [
    ...(level === undefined ? [] : [level]),
    ...models,
    {
      name: 'access',
      verdict: !isLevelReached ? 'silent' : granted || subject.superuser ? 'allow' : 'deny',
      summary: subject.superuser
        ? 'superuser: allowed'
        : `rule: ${showAccess(access)}${isLevelReached ? '' : ', not asked below the level'}`,
      facts: superuser,
    },
  ];
}

/** Value of an `access` expression for given results of the models (COMB-3). */
export function evaluate(access: Access, says: (model: Model) => boolean): boolean {
  if (typeof access === 'string') return says(access);
  return 'any' in access
    ? access.any.some((part) => evaluate(part, says))
    : access.all.every((part) => evaluate(part, says));
}

function showAccess(access: Access): string {
  if (typeof access === 'string') return access;
  return 'any' in access
    ? `any of (${access.any.map(showAccess).join(', ')})`
    : `all of (${access.all.map(showAccess).join(', ')})`;
}

/** RBAC-3: the gate before the models; `undefined`: the action requires no level. */
function levelLayer({ groups, superuser }: SubjectFacts, action: Action): Layer | undefined {
  if (action.minLevel === NO_LEVEL) return undefined;
  const roles = [...groups.roles.values()];
  const highest = roles.reduce((most, { level }) => Math.max(most, level), NO_LEVEL);
  const isReached = highest >= action.minLevel;
  const has =
    highest === NO_LEVEL
      ? 'no role is in the closure'
      : `the highest here is ${highest} (role ${roles.find(({ level }) => level === highest)?.id ?? ''})`;
  return {
    name: 'min_level',
    verdict: isReached || superuser ? 'allow' : 'deny',
    summary: `level ${action.minLevel} is required, ${!isReached && superuser ? 'but not of a superuser' : has}`,
    facts: [],
  };
}

/** Shortest membership chains from the subject to its groups. Computed in one walk on the first call. */
function lazyChains(subject: SubjectFacts, meter: Meter): ChainTo {
  let cameFrom: ReadonlyMap<string, string> | undefined;
  return function* (group) {
    cameFrom ??= yield* walk(subject, meter);
    const chain = [group];
    for (let at = cameFrom.get(group); at !== undefined; at = cameFrom.get(at)) chain.push(at);
    return chain.toReversed();
  };
}

function* walk(
  { subject, record, groups }: SubjectFacts,
  meter: Meter,
): Steps<ReadonlyMap<string, string>> {
  const start = `${subject.type}:${subject.id}`;
  const cameFrom = new Map<string, string>();
  const reached = new Set([start]);
  for (const at of reached) {
    const holder = at === start && record !== undefined ? record : groups.roles.get(at.slice(5));
    if (holder === undefined || at.startsWith('workspace:')) continue;
    if (meter.isStepDue(holder.roles.length + holder.workspaces.length + 1)) meter.isLate ||= yield;
    const next = (group: string): void => {
      if (!reached.has(group)) cameFrom.set(group, at);
      reached.add(group);
    };
    for (const id of holder.roles) next(`role:${id}`);
    for (const id of holder.workspaces) next(`workspace:${id}`);
  }
  return cameFrom;
}
