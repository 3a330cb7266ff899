/**
 * How many grant rows one record may have. A record is read and written whole, and the process answers nobody else
 * meanwhile (ADM-11): so none may grow without an end.
 */
import { forbidden } from '../refused.ts';

/** Rows that one principal may hold. */
const MAX_HELD = 20_000;
/** Rows that one user may have given. */
const MAX_GIVEN = 50_000;

/** @returns what is wrong with one row more; `undefined`: nothing. What is stored already may be more, and stays. */
export function tooManyHeld(name: string, before: number, after: number): string | undefined {
  return after <= MAX_HELD || after <= before
    ? undefined
    : `\`${name}\` would hold ${after} grants, ${MAX_HELD} are allowed: grant on a path above them, or to a role or workspace that it is in`;
}

function tooManyGiven(name: string, before: number): string | undefined {
  return before < MAX_GIVEN
    ? undefined
    : `\`${name}\` has given ${before} grants, ${MAX_GIVEN} are allowed: grant to a role or workspace instead of its members`;
}

/** @param given what its grantor has given already; 0 for the operator @throws Refused FAILED_PRECONDITION */
export function mustFit(
  holder: { readonly name: string; readonly rows: number },
  grantor: { readonly name: string; readonly given: number },
): void {
  const problem =
    tooManyHeld(holder.name, holder.rows, holder.rows + 1) ??
    tooManyGiven(grantor.name, grantor.given);
  if (problem !== undefined) throw forbidden('ADM-11', problem);
}
