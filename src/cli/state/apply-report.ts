/** What `postern apply` prints, on a server and on a store alike. */
import { EXIT, type Format } from '../kit/output.ts';
import { reportWrite, type WriteAnswer } from '../kit/results.ts';

/** One thing that a state takes away (ADM-10). */
export interface Removal {
  readonly kind: string;
  readonly id: string;
  /** `''`: the record itself. */
  readonly what: string;
}

export interface ApplyAnswer extends WriteAnswer {
  readonly removals: readonly Removal[];
  /** Of a dry run: without `prune` or `keep` the state would be refused. */
  readonly needs_prune_or_keep: boolean;
}

/** @returns the exit code: 1 for a dry run of what would be refused */
export function reportApply(output: Format, answer: ApplyAnswer, tenant: string): number {
  reportWrite(output, answer, { what: `state of ${tenant}`, done: 'applied' });
  return tellRefusal(answer);
}

/** Says where a dry run is of a state that would be refused. @returns the exit code, 1 there */
export function tellRefusal({
  removals,
  needs_prune_or_keep: isRefused,
}: Pick<ApplyAnswer, 'removals' | 'needs_prune_or_keep'>): number {
  if (!isRefused) return EXIT.ok;
  process.stderr.write(
    `postern: the state removes ${removals.length} item(s) from the tenant: give --prune to remove them, or --keep to keep what it does not list (ADM-10)\n`,
  );
  return EXIT.refused;
}
