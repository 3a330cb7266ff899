/**
 * Groups whose membership would have allowed a request. Each group of the tenant is examined once. Its own result is
 * cached, and a candidate has the combined results of its closure.
 */
import { NO_LEVEL } from './action.ts';
import type { Missing } from './explanation.ts';
import { MODELS } from './model.ts';
import { MODEL_RULES, perModel } from './models/models.ts';
import type { Meter, Steps } from './steps.ts';
import type { Directory } from './subject.ts';
import { wordsOf, type Question, type Words } from './words.ts';

/**
 * @param directory may change between steps: then the groups of a newer revision are suggested
 * @param consider gets each group that the subject is not in, and the results of the models with it
 */
export function* memberships(
  question: Question,
  directory: Directory,
  meter: Meter,
  consider: (candidate: Missing, words: Words) => void,
): Steps<void> {
  const { subject, groups } = question.subject;
  if (subject.type === 'workspace') return;
  const name = `${subject.type}:${subject.id}`;
  const own = wordsOf(question, question.resource);
  const given = { role: new Map<string, Words>(), workspace: new Map<string, Words>() };
  const look = lookingAt(question, directory, given, meter);
  for (const [id, { closure }] of directory.roles) {
    if (meter.isOver) return;
    if (meter.isStepDue(1)) meter.isLate ||= yield;
    if (groups.roles.has(id)) continue;
    // A role that is in the subject cannot have the subject as a member: a cycle (ADM-6).
    if (subject.type === 'role' && closure.roles.includes(subject.id)) continue;
    let words = joined(own, given.role.get(id) ?? (yield* look('role', id)));
    if (meter.isStepDue(closure.roles.length + closure.workspaces.length)) meter.isLate ||= yield;
    for (const upper of closure.roles)
      words = joined(words, given.role.get(upper) ?? (yield* look('role', upper)));
    for (const upper of closure.workspaces)
      words = joined(words, given.workspace.get(upper) ?? (yield* look('workspace', upper)));
    consider({ kind: 'membership', text: `${name} as a member of role ${id}` }, words);
  }
  for (const id of directory.workspaces.keys()) {
    if (meter.isOver) return;
    if (meter.isStepDue(1)) meter.isLate ||= yield;
    if (groups.workspaces.has(id)) continue;
    const words = joined(own, given.workspace.get(id) ?? (yield* look('workspace', id)));
    consider({ kind: 'membership', text: `${name} as a member of workspace ${id}` }, words);
  }
}

const NOTHING: Words = { ...perModel(() => false), level: NO_LEVEL };

function joined(a: Words, b: Words): Words {
  // Most groups add no result.
  if (b === NOTHING) return a;
  return {
    ...perModel((model) => a[model] || b[model]),
    level: Math.max(a.level, b.level),
  };
}

/** Cached result of a group's own record for its members. */
function lookingAt(
  { action, resource }: Question,
  directory: Directory,
  given: Readonly<Record<'role' | 'workspace', Map<string, Words>>>,
  meter: Meter,
): (type: 'role' | 'workspace', id: string) => Steps<Words> {
  const gives = perModel((model) => MODEL_RULES[model].givenByGroup(action, resource));
  return function* (type, id) {
    const role = type === 'role' ? directory.roles.get(id) : undefined;
    const group = type === 'role' ? role : directory.workspaces.get(id);
    const permissions = role?.permissions ?? [];
    const grants = group?.grants ?? [];
    if (meter.isStepDue(grants.length + permissions.length + 1)) meter.isLate ||= yield;
    const words: Words = {
      ...perModel((model) => group !== undefined && gives[model](type, group, permissions)),
      // If no level is required, levels are ignored: most groups then add no result.
      level: action.minLevel === NO_LEVEL ? NO_LEVEL : (role?.level ?? NO_LEVEL),
    };
    const isNothing = words.level === NO_LEVEL && !MODELS.some((model) => words[model]);
    given[type].set(id, isNothing ? NOTHING : words);
    return words;
  };
}
