/** What reading a policy set's document has found: plain data, which a thread may send. */
import type { Problem } from '../../config/problem.ts';
import type { PolicySetRecord } from '../../engine/records.ts';

export interface PolicySetReading {
  /** `undefined`: the document is refused for its errors. */
  readonly set: PolicySetRecord | undefined;
  /** What is wrong with its name, unless there is a set of that name, which may break a rule that is newer (ID-1). */
  readonly named?: Problem | undefined;
  readonly problems: readonly Problem[];
}
