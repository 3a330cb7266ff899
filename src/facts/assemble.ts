/** Puts the facts of one question together from the caches, or names the records that must be read first. */
import type { Catalog } from '../engine/action.ts';
import type { Facts } from '../engine/decision.ts';
import type { Subject } from '../engine/model.ts';
import type { KeyRecord } from '../engine/records.ts';
import { askingWith } from '../engine/resolve-key.ts';
import { groupSubject, NO_GROUPS, type Directory, type SubjectFacts } from '../engine/subject.ts';
import type { Loaded, OnDemandKey, Who } from './contract.ts';
import { groupsIn, type Plane } from './plane.ts';
import type { RecordCache } from './record-cache.ts';

const EMPTY_DIRECTORY: Directory = { roles: new Map(), workspaces: new Map() };

export class Assembler {
  readonly #records: RecordCache;
  /** Milliseconds since the epoch: when keys expire. */
  readonly #wallNow: () => number;
  #catalog: Catalog;

  constructor(records: RecordCache, wallNow: () => number, catalog: Catalog) {
    this.#records = records;
    this.#wallNow = wallNow;
    this.#catalog = catalog;
  }

  setCatalog(catalog: Catalog): void {
    this.#catalog = catalog;
  }

  /** @param at monotonic ms @returns a list: the records that must be read first */
  facts(plane: Plane, { subject, keyId }: Who, at: number): Loaded | OnDemandKey[] {
    let key: Facts['key'];
    let invalidKey: KeyRecord | undefined;
    let asking = subject;
    if (keyId !== undefined) {
      const cached = this.#records.key(plane, keyId, at);
      if (cached === undefined) return this.#missing(plane, keyId, subject, at);
      const acting = askingWith(cached.compiled, subject, this.#wallNow);
      if (acting === 'invalid') {
        key = 'invalid';
        invalidKey = cached.record;
      } else {
        key = cached.compiled;
        asking = acting;
      }
    }
    let subjectFacts: SubjectFacts | undefined;
    if (asking !== undefined && key !== 'invalid') {
      if (asking.type === 'user') {
        subjectFacts = this.#records.user(plane, asking.id, at)?.compiled;
        if (subjectFacts === undefined) return [{ kind: 'user', id: asking.id }];
      } else subjectFacts = groupOf(plane, asking);
    }
    return {
      facts: { catalog: this.#catalog, tenantExists: true, key, subject: subjectFacts },
      directory: plane.directory,
      invalidKey,
      revision: plane.head.revision,
      ageMs: at - plane.confirmedAt,
    };
  }

  /** Of a tenant that does not exist. */
  noTenant({ keyId }: Who): Loaded {
    return {
      facts: {
        catalog: this.#catalog,
        tenantExists: false,
        key: keyId === undefined ? undefined : 'invalid',
        subject: undefined,
      },
      directory: EMPTY_DIRECTORY,
      invalidKey: undefined,
      revision: 0,
      ageMs: 0,
    };
  }

  /** The key, and the user with it where that is not cached either: both in one round trip. */
  #missing(plane: Plane, keyId: string, subject: Subject | undefined, at: number): OnDemandKey[] {
    const missing: OnDemandKey[] = [{ kind: 'key', id: keyId }];
    if (subject?.type === 'user' && this.#records.user(plane, subject.id, at) === undefined)
      missing.push({ kind: 'user', id: subject.id });
    return missing;
  }
}

/** A group without a record has no evidence, and takes no place among the cached closures. */
function groupOf(plane: Plane, subject: Subject): SubjectFacts {
  const { roles, workspaces } = plane.directory;
  const exists = (subject.type === 'role' ? roles : workspaces).has(subject.id);
  return groupSubject(subject, (direct) => (exists ? groupsIn(plane, direct) : NO_GROUPS));
}
