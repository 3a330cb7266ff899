/** Management whose calls are counted: which operation, what became of it, and callers that prove nobody. */
import type { Admin } from '../admin/admin-contract.ts';
import { isWrite, WRITES } from '../admin/operations.ts';
import { Refused } from '../admin/refused.ts';
import type { Management } from './management.ts';

const APPLY = 'state.apply';

/** Every operation that changes facts, as the audit log names it. */
export const MANAGEMENT_OPERATIONS: readonly string[] = [
  ...Object.values(WRITES).map(({ operation }) => operation),
  APPLY,
];

export interface Counts {
  operation(operation: string, result: 'ok' | 'refused' | 'failed'): void;
  unauthenticated(): void;
}

/** Reads are not counted: they are no operations. */
export function counted(management: Management, counts: Counts): Management {
  const { admin } = management;
  const identified = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      if (error instanceof Refused && error.kind === 'unauthenticated') counts.unauthenticated();
      throw error;
    }
  };
  const watching = async <T>(operation: string, run: () => Promise<T>): Promise<T> => {
    try {
      const answer = await run();
      counts.operation(operation, 'ok');
      return answer;
    } catch (error) {
      counts.operation(operation, error instanceof Refused ? 'refused' : 'failed');
      throw error;
    }
  };
  const call: Admin['call'] = (name, ...rest) =>
    isWrite(name)
      ? watching(WRITES[name].operation, () => admin.call(name, ...rest))
      : admin.call(name, ...rest);
  return {
    admin: { ...admin, call, apply: (...rest) => watching(APPLY, () => admin.apply(...rest)) },
    admit: (authorization) => identified(() => management.admit(authorization)),
    authenticate: (caller) => identified(() => management.authenticate(caller)),
  };
}
