/**
 * For a denial: the single facts that would each have allowed it. Every candidate is verified, by adding it to the
 * results of the models or by a new decision, so no suggestion is useless.
 */
import { resolveAction, type Action } from './action.ts';
import { decide, prepare } from './decide.ts';
import type { Decision, Facts } from './decision.ts';
import type { Missing } from './explanation.ts';
import { missingForKey } from './missing-for-key.ts';
import { memberships } from './missing-memberships.ts';
import { MODELS, type Request, type Resource } from './model.ts';
import { MODEL_RULES } from './models/models.ts';
import type { Meter, Steps } from './steps.ts';
import type { Directory, SubjectFacts } from './subject.ts';
import { isGranted, wordsOf, type Question, type Words } from './words.ts';

/** @returns the found candidates, and whether all were tried before the budget ran out */
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

/** For a subject without evidence, or below the required level. */
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
  ownFacts(question, found);
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
  /** Candidates that would help together with a role of the required level (RBAC-3). */
  readonly #withLevel: Missing[] = [];

  constructor(question: Question) {
    this.#question = question;
  }

  /** @param words results of all models with the candidate */
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

  /** A pair of facts is suggested only if no single fact would help. */
  all(): readonly Missing[] {
    return this.#single.length > 0 ? this.#single : this.#withLevel;
  }
}

/** Facts of the subject itself, and on the object. */
function ownFacts(question: Question, found: Candidates): void {
  const words = wordsOf(question, question.resource);
  for (const model of MODELS)
    for (const { missing, resource } of MODEL_RULES[model].candidates(question, question.resource))
      if (resource === undefined) found.consider(missing, { ...words, [model]: true });
      else found.consider(missing, wordsOf(question, resource), resource);
}

/** Suggests a missing permission or level for a role of the closure. */
function* changedRoles(question: Question, found: Candidates, meter: Meter): Steps<void> {
  const { subject, action, resource } = question;
  const words = wordsOf(question, resource);
  for (const role of subject.groups.roles.values()) {
    if (meter.isOver) return;
    if (meter.isStepDue(2)) meter.isLate ||= yield;
    for (const model of MODELS) {
      const missing = MODEL_RULES[model].missingOnRole(question, role);
      if (missing !== undefined) found.consider(missing, { ...words, [model]: true });
    }
    if (role.level < action.minLevel)
      found.consider(
        { kind: 'level', text: `level ${action.minLevel} on role ${role.id}` },
        { ...words, level: action.minLevel },
      );
  }
}
