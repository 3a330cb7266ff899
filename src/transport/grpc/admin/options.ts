/** What AdminService needs, and what a caller says of itself. */
import type { Metadata } from '@grpc/grpc-js';
import type { Actor } from '../../../admin/actor.ts';
import type { Admin } from '../../../admin/admin-contract.ts';
import { Refused } from '../../../admin/refused.ts';

export interface AdminServiceOptions {
  readonly admin: Admin;
  readonly packageRoot: string;
  /** Who calls. @throws Refused UNAUTHENTICATED, alike for every cause */
  readonly authenticate: (caller: Caller) => Promise<Actor>;
  /** Largest state that Apply takes, bytes. */
  readonly maxStateBytes: number;
  readonly onError: (error: unknown) => void;
}

/** What a caller says of itself. */
export interface Caller {
  /** The value of `authorization`, or `''`. */
  readonly authorization: string;
  /** The value of `postern-actor`, or `''`. */
  readonly actor: string;
  readonly tenant: string;
}

/** @throws Refused where a header is sent twice */
export function callerOf(metadata: Metadata, tenant: string): Caller {
  const one = (name: string): string => {
    const values = metadata.get(name);
    if (values.length > 1)
      throw new Refused(
        'unauthenticated',
        `the metadata \`${name}\` is given ${values.length} times`,
      );
    return String(values[0] ?? '');
  };
  return { authorization: one('authorization'), actor: one('postern-actor'), tenant };
}
