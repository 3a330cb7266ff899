/** Which allows are recorded. What denies, and what full enforcement would deny, always is. */

export interface SamplingRule {
  /** Names of actions, or beginnings of names followed by `*`; absent: all. */
  readonly actions?: readonly string[] | undefined;
  /** Absent: all. */
  readonly apis?: readonly string[] | undefined;
  /** Share that is recorded, 0 to 1. */
  readonly rate: number;
}

/** Of the allows of an action, the share that is recorded: that of the first rule that fits; 1 where none does. */
export type Sampling = (api: string, action: string) => number;

/** `undefined`: everything is recorded. */
export function compileSampling(rules: readonly SamplingRule[]): Sampling | undefined {
  if (rules.length === 0) return undefined;
  return (api, action) =>
    rules.find(
      ({ apis, actions }) =>
        (apis === undefined || apis.includes(api)) &&
        (actions === undefined || actions.some((pattern) => fits(pattern, action))),
    )?.rate ?? 1;
}

function fits(pattern: string, action: string): boolean {
  return pattern.endsWith('*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern;
}
