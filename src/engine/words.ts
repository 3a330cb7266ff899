/** Results of the models for a subject and an object as values, so that "what if" needs no compilation. */
import type { Action } from './action.ts';
import { showsObject, type Settled } from './decide.ts';
import { evaluate } from './evidence.ts';
import type { Model, Resource } from './model.ts';
import { modelAllows, perModel } from './models/models.ts';
import type { SubjectFacts } from './subject.ts';

/** Result of each model, and the highest level of the roles. */
export type Words = Readonly<Record<Model, boolean>> & { readonly level: number };

/** A request that was denied because of missing evidence. */
export interface Question {
  readonly settled: Settled;
  readonly subject: SubjectFacts;
  readonly action: Action;
  readonly resource: Resource;
}

export function wordsOf({ settled, subject }: Question, resource: Resource): Words {
  return {
    ...perModel((model) => modelAllows(model, settled, resource)),
    level: subject.groups.level,
  };
}

/** Whether the request would be allowed with these results (RBAC-3, COMB-3, COMB-2). */
export function isGranted(
  { settled, action }: Question,
  words: Words,
  resource: Resource,
): boolean {
  return (
    words.level >= action.minLevel &&
    evaluate(settled.access, (model) => words[model]) &&
    showsObject(settled, resource)
  );
}
