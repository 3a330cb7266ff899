/** Fields of records in requests that a call does not store: a value in one is refused, never dropped. */
import { invalid } from '../refused.ts';

/** What to do about a field that is not taken, by its name. */
type Remedies = Readonly<Record<string, string>>;

/**
 * Refuses values that a call would not store.
 * @param field what holds the message in the request, `user`
 * @param message as the codec makes it: fields that were left out have the values that proto3 gives them
 * @param remedies the fields that are not taken
 * @throws Refused INVALID_ARGUMENT that names the field and the remedy
 */
export function mustLeaveOut(field: string, message: object, remedies: Remedies): void {
  for (const [name, value] of Object.entries(message)) {
    const remedy = remedies[name];
    if (remedy !== undefined && !isDefault(value))
      throw invalid(`${field}.${name}`, `cannot be given here: ${remedy}`);
  }
}

/** What proto3 does not tell from a field that was left out. */
function isDefault(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false)
    return true;
  return Array.isArray(value) && value.length === 0;
}

export const OF_A_NEW_USER: Remedies = {
  deleted: 'leave it out, and delete the user by DeleteUser',
};

const ROLES_HAVE_NONE = 'roles have none: leave it out, or leave out `no_login`';

/** Of a user that is stored as a role, because it cannot log in. */
export const OF_A_USER_WITHOUT_LOGIN: Remedies = {
  type: ROLES_HAVE_NONE,
  external_id: ROLES_HAVE_NONE,
  email: ROLES_HAVE_NONE,
  metadata: ROLES_HAVE_NONE,
  superuser: ROLES_HAVE_NONE,
  createrole: ROLES_HAVE_NONE,
  suspended: ROLES_HAVE_NONE,
  admin_of: ROLES_HAVE_NONE,
};

const IS_WHO_CREATES = 'it is whoever creates it: leave it out';
const IS_COUNTED = 'it is counted: leave it out, and add members by AddMember';

export const OF_A_NEW_ROLE: Remedies = {
  system: 'only default roles are system roles: leave it out',
  member_count: IS_COUNTED,
  creator: IS_WHO_CREATES,
};

export const OF_A_NEW_WORKSPACE: Remedies = { member_count: IS_COUNTED, creator: IS_WHO_CREATES };

const FOLLOWS = 'it follows from the key: leave it out';

export const OF_A_NEW_KEY: Remedies = {
  created_at: FOLLOWS,
  last_used_at: FOLLOWS,
  capabilities: FOLLOWS,
  actions: FOLLOWS,
  revoked: 'leave it out, and end the key by RevokeKey',
};
