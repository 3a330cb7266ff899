/** The models that give evidence, a row each. */
import type { Action } from '../action.ts';
import type { Model, Resource } from '../model.ts';
import type { SubjectFacts } from '../subject.ts';
import { acl, aclAllows } from './acl.ts';
import { rbac } from './rbac.ts';
import type { ModelRules } from './rules.ts';
import { tree, treeAllows } from './tree.ts';

export const MODEL_RULES: Readonly<Record<Model, ModelRules>> = { rbac, tree, acl };

/** What of a subject's evidence is settled before an object is looked at. */
export interface SettledEvidence {
  /** `undefined`: a key acts alone. */
  readonly subject: SubjectFacts | undefined;
  readonly action: Action;
  /** RBAC's word, which no object changes. */
  readonly rbac: boolean;
}

/** One model's word on one object: ALLOW or nothing. A direct call each: this is asked of every object of a Filter. */
export function modelAllows(
  model: Model,
  { subject, action, rbac: isPermitted }: SettledEvidence,
  resource: Resource,
): boolean {
  if (subject === undefined) return false;
  switch (model) {
    case 'rbac':
      return isPermitted;
    case 'tree':
      return treeAllows(subject, action, resource.path);
    case 'acl':
      return aclAllows(subject, action, resource.attributes);
  }
}

/** The same question of each model. */
export function perModel<T>(answer: (model: Model) => T): Readonly<Record<Model, T>> {
  return { rbac: answer('rbac'), tree: answer('tree'), acl: answer('acl') };
}
