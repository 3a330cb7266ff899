/** Interface of the models that give evidence for a subject (COMB-3, section 4 of the rules). */
import type { Action } from '../action.ts';
import type { Fact, Missing } from '../explanation.ts';
import type { Resource } from '../model.ts';
import type { RoleRecord, WorkspaceRecord } from '../records.ts';
import type { Meter, Steps } from '../steps.ts';
import type { SubjectFacts } from '../subject.ts';

/** Subject and action of a request to a model. */
export interface Asked {
  readonly subject: SubjectFacts;
  readonly action: Action;
}

/** Parts of the request's resource that are unknown here. */
export interface Withheld {
  readonly path: boolean;
  readonly attributes: boolean;
  readonly sources: boolean;
}

/** One fact that would make the model allow. */
export interface Candidate {
  readonly missing: Missing;
  /** The object with the added fact; absent: the fact is not an attribute of the object. */
  readonly resource?: Resource;
}

/** The shortest membership chain from the subject to a group, `role:team`; both are included. */
export type ChainTo = (group: string) => Steps<readonly string[]>;

/** A model without its decision function, which `models.ts` calls directly. */
export interface ModelRules {
  /** The facts that make it allow, read from the records (Explain). */
  facts(asked: Asked, resource: Resource, chainTo: ChainTo, meter: Meter): Steps<readonly Fact[]>;
  /** A sentence that says why it does not allow. */
  silence(asked: Asked, resource: Resource): string;
  /** Whether it could allow if the withheld parts were known. */
  mayAllow(asked: Asked, resource: Resource, withheld: Withheld): boolean;
  /** Facts of the subject or the object that would make it allow. */
  candidates(asked: Asked, resource: Resource): readonly Candidate[];
  /** What a role of the closure lacks. */
  missingOnRole(asked: Asked, role: RoleRecord): Missing | undefined;
  /** Returns a test for the groups of a tenant: whether the group's own record makes the model allow its members. */
  givenByGroup(action: Action, resource: Resource): GroupTest;
}

export type GroupTest = (
  type: 'role' | 'workspace',
  group: RoleRecord | WorkspaceRecord,
  permissions: readonly string[],
) => boolean;
