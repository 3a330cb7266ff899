/**
 * For a denial: the single facts of which each would have allowed it. Nothing is suggested that would not help:
 * each candidate is decided, by what it adds to the models' words, or by deciding the request again with it.
 */
import { ACL_KEYS } from './acl.ts';
import { permissionOf, resolveAction, treeActionOf, type Action } from './action.ts';
import { decide, prepare } from './decide.ts';
import type { Missing } from './explanation.ts';
import { missingForKey } from './missing-for-key.ts';
import { memberships } from './missing-memberships.ts';
import type { Decision, Facts, Request, Resource } from './model.ts';
import type { Meter, Steps } from './steps.ts';
import type { Directory, SubjectFacts } from './subject.ts';
import { isGranted, wordsOf, type Question, type Words } from './words.ts';

/** @returns what was found, and whether every candidate was tried before the meter was over */
export function* missingFacts(
  request: Request,
  facts: Facts,
  decision: Decision,
  directory: Directory,
  meter: Meter,
): Steps<{ readonly missing: readonly Missing[]; readonly isComplete: boolean }> {
  const action = resolveAction(facts.catalog, request.action, request.resource.type);
  if (decision.allowed || action === undefined) return { missing: [], isComplete: true };
  const { subject, key } = facts;
  const missing: Missing[] = [];
  if (decision.reason === 'SUBJECT_INACTIVE' && subject !== undefined) {
    const active = { ...facts, subject: { ...subject, inactive: false } };
    if (decide(request, active).allowed)
      missing.push({ kind: 'active', text: `user:${subject.subject.id} being active again` });
  }
  if (decision.reason === 'NO_GRANT' && subject !== undefined)
    missing.push(...(yield* missingEvidence(request, facts, subject, action, directory, meter)));
  if (key !== undefined && key !== 'invalid')
    missing.push(...(yield* missingForKey({ request, facts, key, decision, action }, meter)));
  return { missing, isComplete: !meter.isOver };
}

/** Of a subject without evidence, or below the level that the action asks for. */
function* missingEvidence(
  request: Request,
  facts: Facts,
  subject: SubjectFacts,
  action: Action,
  directory: Directory,
  meter: Meter,
): Steps<readonly Missing[]> {
  const settled = prepare(request.action, request.resource.type, facts);
  if (settled.refused !== undefined) return [];
  const question: Question = { settled, subject, action, resource: request.resource };
  const found = new Candidates(question);
  grantAndList(question, found);
  yield* changedRoles(question, found, meter);
  yield* memberships(question, directory, meter, (candidate, words) =>
    found.consider(candidate, words),
  );
  return found.all();
}

/** The candidates that would have helped. */
class Candidates {
  readonly #question: Question;
  readonly #single: Missing[] = [];
  /** Those that would help together with a role of the level that the action asks for (RBAC-3). */
  readonly #withLevel: Missing[] = [];

  constructor(question: Question) {
    this.#question = question;
  }

  /** @param words of all models with the candidate in force */
  consider(candidate: Missing, words: Words, resource: Resource = this.#question.resource): void {
    if (isGranted(this.#question, words, resource)) {
      this.#single.push(candidate);
      return;
    }
    const { minLevel } = this.#question.action;
    if (words.level >= minLevel || this.#single.length > 0) return;
    if (!isGranted(this.#question, { ...words, level: minLevel }, resource)) return;
    const text = `a role of level ${minLevel} or more, and ${candidate.text}`;
    this.#withLevel.push({ kind: candidate.kind, text });
  }

  /** Two facts together are told only where no single one would have helped. */
  all(): readonly Missing[] {
    return this.#single.length > 0 ? this.#single : this.#withLevel;
  }
}

function grantAndList(question: Question, found: Candidates): void {
  const { subject, action, resource } = question;
  const { type, id } = subject.subject;
  const words = wordsOf(question, resource);
  const tree = treeActionOf(action);
  if (resource.path !== undefined && tree !== undefined)
    found.consider(
      { kind: 'grant', text: `a grant of ${tree} on '${resource.path}' to ${type}:${id}` },
      { ...words, tree: true },
    );
  if (action.acl === undefined) return;
  const key = ACL_KEYS[action.acl][type];
  const attributes = new Map(resource.attributes);
  attributes.set(key, [...(attributes.get(key) ?? []), id]);
  const listed = { ...resource, attributes };
  const candidate = { kind: 'acl', text: `${id} in the object's ${key}` } as const;
  found.consider(candidate, wordsOf(question, listed), listed);
}

/** A role of the closure with the permission, or the level, that it lacks. */
function* changedRoles(question: Question, found: Candidates, meter: Meter): Steps<void> {
  const { subject, action, resource } = question;
  const words = wordsOf(question, resource);
  for (const { id, level } of subject.groups.roles.values()) {
    if (meter.isOver) return;
    if (meter.isStepDue(2)) meter.isLate ||= yield;
    if (action.verbs.length > 0)
      found.consider(
        { kind: 'permission', text: `${permissionOf(action)} on role ${id}` },
        { ...words, rbac: true },
      );
    if (level < action.minLevel)
      found.consider(
        { kind: 'level', text: `level ${action.minLevel} on role ${id}` },
        { ...words, level: action.minLevel },
      );
  }
}
