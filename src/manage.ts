/** The management half of the composition: who calls, what it may do, and the records of both. */
import { timingSafeEqual, createHash } from 'node:crypto';
import type { Actor } from './admin/actor.ts';
import { openAdmin, type Admin, type ManagementEvent } from './admin/admin.ts';
import type { Baseline } from './admin/baseline.ts';
import { nameOf } from './admin/principals.ts';
import { Refused } from './admin/refused.ts';
import { actorName, isTold } from './admin/write.ts';
import { authenticationLine, managementLine } from './audit/management.ts';
import type { Sequence } from './audit/sequence.ts';
import type { DefaultRole } from './config/roles.ts';
import type { Catalog } from './engine/action.ts';
import { idProblem } from './engine/id.ts';
import { printable } from './engine/validate.ts';
import type { KeyRecord, UserRecord } from './engine/records.ts';
import type { Identity } from './identity/identity.ts';
import { mintKey, mintSession, newId } from './identity/token.ts';
import type { FactKey, Store } from './store/store.ts';

export interface ManageOptions {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  /** Migrations that the defaults include. */
  readonly baseline: Baseline;
  readonly identity: Identity;
  /** The operator's; `undefined`: there is no operator. */
  readonly adminToken: string | undefined;
  readonly sequence: Sequence;
  /** Takes an audit line; `undefined`: nobody reads them. */
  readonly record: ((line: string) => void) | undefined;
  /** Milliseconds since the epoch, never going back. */
  readonly now: () => number;
}

/** What a caller says of itself. */
export interface Caller {
  readonly authorization: string;
  readonly actor: string;
  readonly tenant: string;
}

export interface Management {
  readonly admin: Admin;
  /** @throws Refused UNAUTHENTICATED, in the same words for every cause */
  authenticate(caller: Caller): Promise<Actor>;
}

export function openManagement(options: ManageOptions): Management {
  const { store, catalog, defaults, baseline, identity, sequence, now } = options;
  const stamp = (): { time: string; instance: string; seq: number } => ({
    time: new Date().toISOString(),
    instance: sequence.instance,
    seq: ++sequence.last,
  });

  const recordOperation = (event: ManagementEvent): void => {
    const { actor, differences, ...rest } = event;
    options.record?.(
      managementLine(
        {
          ...rest,
          actor: actorName(actor),
          via: actor.via,
          keyId: actor.keyId,
          changes: differences.filter(isTold),
        },
        stamp(),
      ),
    );
  };

  const refuse = (tenant: string, why: string): Refused => {
    // What is no tenant's name is not repeated: it may be anything, and of any length.
    const named = idProblem(tenant) === undefined ? tenant : '';
    options.record?.(authenticationLine({ tenant: named, why }, stamp()));
    return new Refused(
      'unauthenticated',
      'the credential is missing, unknown, expired, revoked or of another tenant: send `authorization: Bearer TOKEN`',
    );
  };

  /** Somebody who is known, and may not do what it asks for. */
  const denied = (tenant: string, why: string): Refused => {
    options.record?.(authenticationLine({ tenant, why }, stamp()));
    return new Refused('permission_denied', why, 'ADM-1');
  };

  /** The user that a credential proves, and the key that it came by. */
  const provenBy = async (token: string, tenant: string): Promise<Actor | undefined> => {
    const claim = await identity.identify({ bearerToken: token });
    const own = claim?.tenant === tenant ? claim : undefined;
    const keyId = own?.keyId;
    const id = own?.subject?.id;
    const keys: FactKey[] = [
      ...(keyId === undefined ? [] : [{ kind: 'key' as const, id: keyId }]),
      ...(id === undefined ? [] : [{ kind: 'user' as const, id }]),
    ];
    // One look at the store, whatever the credential is worth: time tells nothing.
    const { values } = await store.get(idProblem(tenant) === undefined ? tenant : '-', keys);
    // The store returns records of the kinds that were asked for.
    const key = keyId === undefined ? undefined : (values[0] as KeyRecord | undefined);
    const user = id === undefined ? undefined : (values.at(-1) as UserRecord | undefined);
    if (own?.proves({ key, user }) !== true) return undefined;
    if (keyId === undefined) return { user: id, keyId: undefined, via: own.via };
    if (key?.user === undefined)
      throw denied(
        tenant,
        `key \`${keyId}\` acts for no user and manages nothing: a user, or a key that is bound to one, could`,
      );
    return { user: key.user, keyId, via: `key ${keyId}` };
  };

  return {
    admin: openAdmin({
      store,
      catalog,
      defaults,
      baseline,
      now,
      mint: { key: mintKey, session: mintSession, id: newId },
      record: recordOperation,
    }),
    async authenticate({ authorization, actor, tenant }): Promise<Actor> {
      const [, token] = /^bearer ([^\s]+)$/i.exec(authorization) ?? [];
      if (token === undefined) throw refuse(tenant, 'no bearer token');
      if (options.adminToken !== undefined && sameSecret(token, options.adminToken))
        return operator(actor);
      const proven = await provenBy(token, tenant);
      if (proven === undefined) throw refuse(tenant, 'the credential proves nobody here');
      if (actor !== '' && nameOf({ type: 'user', id: userOf(actor) }) !== actorName(proven))
        throw denied(
          tenant,
          `\`${actorName(proven)}\` may not act as \`${printable(actor)}\`: the operator could`,
        );
      return proven;
    },
  };
}

/** The operator, or the user as whom it acts, with that user's authority. */
function operator(as: string): Actor {
  if (as === '' || as === 'operator')
    return { user: undefined, keyId: undefined, via: 'admin token' };
  const id = userOf(as);
  const problem = idProblem(id);
  if (problem !== undefined)
    throw new Refused('invalid_argument', `postern-actor: ${problem}`, '', 'postern-actor');
  return { user: id, keyId: undefined, via: 'admin token' };
}

/** The user that the metadata names: `user:alice` or `alice`, percent-encoded because metadata is ASCII. */
function userOf(actor: string): string {
  try {
    return decodeURIComponent(actor.startsWith('user:') ? actor.slice(5) : actor);
  } catch {
    throw new Refused(
      'invalid_argument',
      `postern-actor: \`${printable(actor)}\` is not percent-encoded UTF-8: write % as %25`,
      '',
      'postern-actor',
    );
  }
}

function sameSecret(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
