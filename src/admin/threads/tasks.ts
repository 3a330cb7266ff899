/** What threads are asked and answer: plain data that is cloned on its way. */
import type { PolicyLimits } from '../../config/policy-limits.ts';
import type { Problem } from '../../config/problem.ts';
import type { Catalog } from '../../engine/action.ts';
import type { PolicySetRecord } from '../../engine/records.ts';

export interface Tasks {
  readonly policy_set: {
    readonly task: {
      readonly document: string;
      readonly catalog: Catalog;
      readonly limits: PolicyLimits;
    };
    readonly answer: ReadSet;
  };
}

/** A policy set's document as read: its record where it has no error, and what is to be told of it. */
export interface ReadSet {
  /** `undefined`: it is refused for its errors. */
  readonly set: PolicySetRecord | undefined;
  /** What is wrong with its name, unless there is a set of that name, which may break a rule that is newer (ID-1). */
  readonly named?: Problem | undefined;
  readonly problems: readonly Problem[];
}

export type Task = { [N in keyof Tasks]: { readonly name: N } & Tasks[N]['task'] }[keyof Tasks];

export type Answer = { readonly value: unknown } | { readonly error: string };
