/** Who may give what on a path, and who may set its owner (ADM-2). */
import { TREE_ACTIONS, type Subject, type TreeAction } from '../../engine/model.ts';
import type { GrantRow, UserRecord } from '../../engine/records.ts';
import { groupsOf, nameOf, userIn } from '../principals.ts';
import type { World } from '../world.ts';
import { optionsOf } from './rows.ts';

/** By what a user may give an action at a path. */
export type Right = 'superuser' | 'owner' | 'admin' | 'grant_option';

/** What may be relied on: rows and ownerships that may fall are looked at one by one. */
export interface Relied {
  /** Whether an action of a row counts; rows are compared as objects. */
  row(row: GrantRow, action: TreeAction): boolean;
  /** Whether the ownership of a path counts. */
  owner(path: string): boolean;
}

const EVERYTHING: Relied = { row: () => true, owner: () => true };

/** Grant rows of one principal, by path. */
type Rows = ReadonlyMap<string, readonly GrantRow[]>;

/** What a user holds itself and by its groups. */
interface Holdings {
  readonly user: UserRecord;
  readonly owns: ReadonlySet<string>;
  readonly own: Rows;
  /** Itself, and those of its groups that hold a grant. */
  readonly all: readonly Rows[];
  /** All its groups, as `role:team`. */
  readonly groups: readonly string[];
}

/** A path and all above it, the root first (PATH-2). */
export function upwards(path: string): readonly string[] {
  if (path === '') return [''];
  const paths = [''];
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1))
    paths.push(path.slice(0, dot));
  paths.push(path);
  return paths;
}

/** Rights over facts that do not change meanwhile: what is looked at is indexed once. */
export class Rights {
  readonly #world: World;
  readonly #relied: Relied;
  readonly #users = new Map<string, Holdings | undefined>();
  readonly #rows = new Map<string, Rows>();

  constructor(world: World, relied: Relied = EVERYTHING) {
    this.#world = world;
    this.#relied = relied;
  }

  /** ADM-2 for one action. `undefined`: by nothing. */
  mayGive(id: string, path: string, action: TreeAction): Right | undefined {
    const holdings = this.#of(id);
    if (holdings === undefined) return undefined;
    if (holdings.user.superuser) return 'superuser';
    const paths = upwards(path);
    if (this.#owns(holdings, paths)) return 'owner';
    if (this.#holds(holdings, paths, 'admin') && this.#holds(holdings, paths, action))
      return 'admin';
    // The option counts only where it was given to the user itself.
    const optional = paths.some((at) =>
      holdings.own
        .get(at)
        ?.some((row) => optionsOf(row).includes(action) && this.#relied.row(row, action)),
    );
    return optional ? 'grant_option' : undefined;
  }

  /** ADM-2: who sets the owner of a path must hold all that an owner has. */
  mayAppoint(id: string, path: string): Exclude<Right, 'grant_option'> | undefined {
    const holdings = this.#of(id);
    if (holdings === undefined) return undefined;
    if (holdings.user.superuser) return 'superuser';
    const paths = upwards(path);
    if (this.#owns(holdings, paths)) return 'owner';
    return TREE_ACTIONS.every((action) => this.#holds(holdings, paths, action))
      ? 'admin'
      : undefined;
  }

  /** Whether a user owns the path or one above it. */
  owns(id: string, path: string): boolean {
    const holdings = this.#of(id);
    return holdings !== undefined && this.#owns(holdings, upwards(path));
  }

  /** Whether a user manages grants and ownership at a path: owner, or holder of `admin` (TREE-4). */
  manages(id: string, path: string): boolean {
    const right = this.mayGive(id, path, 'admin');
    return right !== undefined && right !== 'grant_option';
  }

  /** The actions that an owner has and this one does not hold there by grants. */
  lacking(id: string, path: string): readonly TreeAction[] {
    const holdings = this.#of(id);
    const paths = upwards(path);
    return TREE_ACTIONS.filter(
      (action) => holdings === undefined || !this.#holds(holdings, paths, action),
    );
  }

  /** The groups of a user, as `role:team`. */
  groups(id: string): readonly string[] {
    return this.#of(id)?.groups ?? [];
  }

  #owns({ owns }: Holdings, paths: readonly string[]): boolean {
    return owns.size > 0 && paths.some((at) => owns.has(at) && this.#relied.owner(at));
  }

  #holds({ all }: Holdings, paths: readonly string[], wanted: TreeAction): boolean {
    return all.some((rows) =>
      paths.some((at) =>
        rows.get(at)?.some((row) => row.actions.includes(wanted) && this.#relied.row(row, wanted)),
      ),
    );
  }

  #of(id: string): Holdings | undefined {
    if (this.#users.has(id)) return this.#users.get(id);
    const user = userIn(this.#world, id);
    const holdings = user === undefined ? undefined : this.#holdings(user);
    this.#users.set(id, holdings);
    return holdings;
  }

  #holdings(user: UserRecord): Holdings {
    const { roles, workspaces } = groupsOf(this.#world, user);
    const own = this.#rowsOf({ type: 'user', id: user.id }, user.grants);
    const groups = [
      ...[...roles.values()].map((role) => [{ type: 'role', id: role.id }, role.grants] as const),
      ...[...workspaces.values()].map(
        (one) => [{ type: 'workspace', id: one.id }, one.grants] as const,
      ),
    ];
    return {
      user,
      owns: new Set(user.owns),
      own,
      all: [
        own,
        ...groups
          .filter(([, grants]) => grants.length > 0)
          .map(([of, grants]) => this.#rowsOf(of, grants)),
      ],
      groups: groups.map(([of]) => nameOf(of)),
    };
  }

  #rowsOf(of: Subject, grants: readonly GrantRow[]): Rows {
    const name = nameOf(of);
    const cached = this.#rows.get(name);
    if (cached !== undefined) return cached;
    const rows = Map.groupBy(grants, ({ path }) => path);
    this.#rows.set(name, rows);
    return rows;
  }
}

/** Who could change grants or ownership at a path: its owners by name, and the kinds of others. */
export function whoManages(world: World, path: string, others: readonly string[]): string {
  const paths = upwards(path);
  world.prefetch(paths.map((id) => ({ kind: 'owner', id })));
  const owners = paths.flatMap((at) => {
    const owner = world.get('owner', at)?.owner;
    return owner === undefined ? [] : [`user:${owner}, who owns '${at}'`];
  });
  return [...owners, ...others, 'a superuser'].join(', or ');
}
