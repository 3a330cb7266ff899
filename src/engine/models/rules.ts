/** What every model that gives evidence for a subject tells of itself (COMB-3, section 4 of the rules). */
import type { Action } from '../action.ts';
import type { Fact, Missing } from '../explanation.ts';
import type { Resource } from '../model.ts';
import type { RoleRecord, WorkspaceRecord } from '../records.ts';
import type { Meter, Steps } from '../steps.ts';
import type { SubjectFacts } from '../subject.ts';

/** Whom a model is asked about, and for what. */
export interface Asked {
  readonly subject: SubjectFacts;
  readonly action: Action;
}

/** Parts of a resource that a request had and that are left out of what is known of it. */
export interface Withheld {
  readonly path: boolean;
  readonly attributes: boolean;
  readonly sources: boolean;
}

/** A single fact that would make the model allow. */
export interface Candidate {
  readonly missing: Missing;
  /** The object with the fact in it; absent: the fact is not on the object. */
  readonly resource?: Resource;
}

/** The shortest chain over membership from the subject to a group, `role:team`; both are included. */
export type ChainTo = (group: string) => Steps<readonly string[]>;

/** A model, but for its word in a decision, which `models.ts` asks by a direct call. */
export interface ModelRules {
  /** The facts by which it allows, read from the records (Explain). */
  facts(asked: Asked, resource: Resource, chainTo: ChainTo, meter: Meter): Steps<readonly Fact[]>;
  /** Why it allows nothing, in words. */
  silence(asked: Asked, resource: Resource): string;
  /** Whether it could allow if the withheld parts were known. */
  mayAllow(asked: Asked, resource: Resource, withheld: Withheld): boolean;
  /** Facts of the subject or on the object that would make it allow. */
  candidates(asked: Asked, resource: Resource): readonly Candidate[];
  /** What a role of the closure lacks for it. */
  missingOnRole(asked: Asked, role: RoleRecord): Missing | undefined;
  /** What is asked of each group of a tenant: whether its own record makes the model allow its members. */
  givenByGroup(action: Action, resource: Resource): GroupTest;
}

export type GroupTest = (
  type: 'role' | 'workspace',
  group: RoleRecord | WorkspaceRecord,
  permissions: readonly string[],
) => boolean;
