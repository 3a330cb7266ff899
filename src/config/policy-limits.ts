/** How large one policy set may be: what it costs to read, to check and to compile grows with these numbers (ADM-11). */

/** Each has the name of its setting in `admin.policy_sets`. */
export interface PolicyLimits {
  /** Bytes of the document, UTF-8. */
  readonly max_bytes: number;
  readonly max_rules: number;
  /** Actions of all rules together. */
  readonly max_actions: number;
  /** Attribute values of all rules together. */
  readonly max_attributes: number;
  /** Maps and lists within each other. */
  readonly max_depth: number;
  /** YAML aliases of the document. */
  readonly max_aliases: number;
}

export const POLICY_LIMITS: PolicyLimits = {
  max_bytes: 2_097_152,
  max_rules: 5_000,
  max_actions: 50_000,
  max_attributes: 50_000,
  max_depth: 32,
  max_aliases: 1_000,
};

/** What of a set's body is counted. */
interface CountedBody {
  readonly rules: readonly {
    readonly actions: readonly unknown[];
    readonly attributes?: Readonly<Record<string, readonly unknown[]>> | undefined;
  }[];
}

/** What a set has more of than is allowed, in words that name the setting; `undefined`: nothing. */
export function sizeProblem({ rules }: CountedBody, limits: PolicyLimits): string | undefined {
  let [actions, attributes] = [0, 0];
  for (const rule of rules) {
    actions += rule.actions.length;
    for (const values of Object.values(rule.attributes ?? {})) attributes += values.length;
  }
  const over = (
    [
      ['max_rules', rules.length, 'rules'],
      ['max_actions', actions, 'actions in its rules'],
      ['max_attributes', attributes, 'attribute values in its rules'],
    ] as const
  ).find(([name, count]) => count > limits[name]);
  if (over === undefined) return undefined;
  const [name, count, what] = over;
  return `the policy set has ${count} ${what}, ${limits[name]} are allowed: split it, or raise \`admin.policy_sets.${name}\``;
}
