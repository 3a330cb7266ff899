/** The models that give evidence, one row each. */
import type { Action } from '../action.ts';
import type { Model, Resource } from '../model.ts';
import type { SubjectFacts } from '../subject.ts';
import { acl, aclAllows } from './acl.ts';
import { rbac } from './rbac.ts';
import type { ModelRules } from './rules.ts';
import { tree, treeAllows } from './tree.ts';

export const MODEL_RULES: Readonly<Record<Model, ModelRules>> = { rbac, tree, acl };

/** The part of a subject's evidence that does not depend on the object. */
export interface SettledEvidence {
  /** `undefined`: a key acts alone. */
  readonly subject: SubjectFacts | undefined;
  readonly action: Action;
  /** Result of RBAC, which does not depend on the object. */
  readonly rbac: boolean;
}

/** Result of one model for one object. Direct calls, because Filter runs this for every object. */
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

/** Runs the same function for each model. */
export function perModel<T>(answer: (model: Model) => T): Readonly<Record<Model, T>> {
  return { rbac: answer('rbac'), tree: answer('tree'), acl: answer('acl') };
}
