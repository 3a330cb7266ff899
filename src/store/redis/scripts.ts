/**
 * What runs inside Redis: each script is one atomic step on the keys of one tenant. They move records and know
 * nothing of their meaning.
 */

export interface Script {
  readonly name: string;
  readonly lua: string;
}

/**
 * What a commit looks at before anything is written; from `first` on, ARGV has the changes. Where its own commit is there
 * already, the head is written again as it is: from 7.2 on, a WAIT after a script that wrote nothing waits for nothing.
 */
const LOOK = `
local head = redis.call('GET', KEYS[1])
local revision, nonce = 0, ''
if head then revision, nonce = string.match(head, '^(%d+) (.+)$') end
if tonumber(revision) ~= tonumber(ARGV[1]) then
  local id = string.format('%.0f-0', tonumber(ARGV[1]) + 1)
  local own = redis.call('XRANGE', KEYS[2], id, id)[1]
  if own and own[2][2] == ARGV[2] then
    if head then redis.pcall('SET', KEYS[1], head) end
    return {1, string.sub(id, 1, -3), ARGV[2]}
  end
  if not own and tonumber(revision) > tonumber(ARGV[1]) then return {2, tostring(revision), nonce} end
  return {0, tostring(revision), nonce}
end
if ARGV[7] ~= '' and ARGV[7] ~= nonce then return {0, tostring(revision), nonce} end
local needs = tonumber(ARGV[9])
local newest = redis.call('XRANGE', KEYS[2], tostring(revision) .. '-0', tostring(revision) .. '-0')[1]
if newest and newest[2][7] == 'v' then needs = math.max(needs, tonumber(newest[2][8]) or 1) end
if needs > tonumber(ARGV[10]) then return {3, tostring(needs), ''} end
local next = string.format('%.0f', tonumber(revision) + 1)
if redis.acl_check_cmd then
  for _, command in ipairs({
    {'TYPE', KEYS[1]}, {'SET', KEYS[1], ''}, {'XADD', KEYS[2], '1-0', 'n', ''}, {'SADD', KEYS[3], ''}, {'HSET', KEYS[4], '', ''},
    {'HDEL', KEYS[4], ''}, {'ZADD', KEYS[5], 0, ''}, {'ZREM', KEYS[5], ''}, {'PUBLISH', ARGV[5], ''}
  }) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user may not ' .. command[1] .. ' on ' .. command[2])
    end
  end
end
local function problem(at, wanted)
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'none' and kind ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' is a ' .. kind .. ', not a ' .. wanted)
  end
end
local wrong = problem(1, 'string') or problem(2, 'stream') or problem(3, 'set')
local seen = {}
for at = first, #ARGV, 3 do
  local kind = ARGV[at]
  if not seen[kind] then
    seen[kind] = true
    local records = 2 + 2 * tonumber(kind)
    wrong = wrong or problem(records, 'hash') or problem(records + 1, 'zset')
  end
end
`;

/** The first write, by which a full memory shows. */
const BEGIN = `
if wrong then return wrong end
if redis.call('XRANGE', KEYS[2], next .. '-0', '+', 'COUNT', 1)[1] then
  return redis.error_reply('WRONGHEAD ' .. KEYS[1] .. ' is older than ' .. KEYS[2])
end
redis.call('SADD', KEYS[3], ARGV[3])
`;

/** The changes that are written now, and last the head. */
const END = `
for at = first, #ARGV, 3 do
  local records = 2 + 2 * tonumber(ARGV[at])
  if ARGV[at + 2] == '' then
    redis.call('HDEL', KEYS[records], ARGV[at + 1])
    redis.call('ZREM', KEYS[records + 1], ARGV[at + 1])
  else
    redis.call('HSET', KEYS[records], ARGV[at + 1], ARGV[at + 2])
    redis.call('ZADD', KEYS[records + 1], 0, ARGV[at + 1])
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], next .. '-0', 'n', ARGV[2], 'p', nonce, 'e', ARGV[6], 'v', needs)
redis.call('SET', KEYS[1], next .. ' ' .. ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[8])
return {1, next, ARGV[2]}`;

/**
 * All or nothing, if the tenant is still at the expected revision (CONS-5). Redis does not undo what a script did
 * before it failed: so all that can fail is looked at first (rights, the kind of each key, and by the first write a
 * full memory), and the head comes last. Sent twice, by its nonce, it is done once.
 *
 * KEYS: head, feed, tenants, then records and index of each kind.
 * ARGV: expected, nonce, tenant, feed length, channel, entry, nonce of the expected ('': any), hint, least reader of the commit, version of the writer, then kind (1 is the first), id, value ('': delete) of each change.
 * Returns {1, revision, nonce} if committed, {0, revision, nonce} of the head if somebody else came first, {2, …} if
 * the feed no longer tells who it was, {3, version} if the tenant needs a newer writer (CONS-6).
 */
export const COMMIT: Script = {
  name: 'commit',
  lua: `local first = 11${LOOK}${BEGIN}${END}`,
};

/**
 * As `COMMIT`, for a commit of which some kinds stand prepared in keys of their own: these take the place of the kind.
 * What stood there is freed in the background. Nothing is written where the stage is not whole (it has expired).
 *
 * KEYS: as `COMMIT`, then the step of the stage, then records and index of each prepared kind.
 * ARGV: as `COMMIT` up to 10, then the last step, the count of prepared kinds, the number of each, then the changes.
 */
export const FLIP: Script = {
  name: 'flip',
  lua: `local first = 13 + tonumber(ARGV[12])${LOOK}
local places = #KEYS - 2 * tonumber(ARGV[12])
for at = 1, tonumber(ARGV[12]) do
  local live = 2 + 2 * tonumber(ARGV[12 + at])
  local staged = places + 2 * at - 1
  wrong = wrong or problem(live, 'hash') or problem(live + 1, 'zset') or problem(staged, 'hash') or problem(staged + 1, 'zset')
  if redis.acl_check_cmd then
    for _, command in ipairs({{'UNLINK', KEYS[live]}, {'PERSIST', KEYS[staged]}, {'RENAME', KEYS[staged], KEYS[live]}}) do
      if not redis.acl_check_cmd(unpack(command)) then
        return redis.error_reply('NOPERM this user may not ' .. command[1] .. ' on ' .. command[2])
      end
    end
  end
end
if not wrong and redis.call('GET', KEYS[places]) ~= ARGV[11] then
  return redis.error_reply('STAGEGONE ' .. KEYS[places] .. ' has expired')
end${BEGIN}
redis.call('UNLINK', KEYS[places])
for at = 1, tonumber(ARGV[12]) do
  for place = 0, 1 do
    local live = KEYS[2 + 2 * tonumber(ARGV[12 + at]) + place]
    local staged = KEYS[places + 2 * at - 1 + place]
    redis.call('UNLINK', live)
    if redis.call('TYPE', staged).ok ~= 'none' then
      redis.call('PERSIST', staged)
      redis.call('RENAME', staged, live)
    end
  end
end${END}`,
};

/** Writes a tenant's head again as it is, so that a WAIT that follows waits for all before it. KEYS: head. */
export const TOUCH: Script = {
  name: 'touch',
  lua: `
local head = redis.call('GET', KEYS[1])
if head then redis.pcall('SET', KEYS[1], head) end
return head`,
};

/** KEYS: head, then a hash for each id of ARGV. Returns head and values of one moment. */
export const GET: Script = {
  name: 'get',
  lua: `
local found = {redis.call('GET', KEYS[1])}
for at = 1, #ARGV do found[at + 1] = redis.call('HGET', KEYS[at + 1], ARGV[at]) end
return found`,
};

/**
 * KEYS: head, records, index. ARGV: where to begin, how many at most, bytes after which the page ends. Returns head,
 * '1' where there are more, then id and value in turn.
 */
export const SCAN: Script = {
  name: 'scan',
  lua: `
local found = {redis.call('GET', KEYS[1]), '0'}
local limit, left = tonumber(ARGV[2]), tonumber(ARGV[3])
local ids = redis.call('ZRANGE', KEYS[3], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, limit + 1)
for at = 1, #ids do
  if at > limit or left < 0 then
    found[2] = '1'
    break
  end
  local value = redis.call('HGET', KEYS[2], ids[at])
  if value then left = left - #value end
  found[2 * at + 1] = ids[at]
  found[2 * at + 2] = value
end
return found`,
};

/** KEYS: head, feed. ARGV: first revision, how many. Returns head and entries. */
export const FEED: Script = {
  name: 'feed',
  lua: `
return {
  redis.call('GET', KEYS[1]),
  redis.call('XRANGE', KEYS[2], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
}`,
};

/** The head that a stage is built on must be the head still: else it is in vain, and what is copied is of two commits. */
const SAME_HEAD = `
local head = redis.call('GET', KEYS[1]) or ''
if head ~= ARGV[2] then return {0, head} end`;

/** A step that was done is not done twice; one whose stage has expired is not done at all. */
const STEP = `
local step = redis.call('GET', KEYS[2]) or ''
local number, last = string.match(step, '^(%d+) (.*)$')
if number == ARGV[1] then return {1, last} end
if tonumber(number or -1) ~= tonumber(ARGV[1]) - 1 then
  return redis.error_reply('STAGEGONE ' .. KEYS[2] .. ' has expired')
end`;

/** All keys of the stage live for as long as its steps come: an abandoned one disappears. */
const KEEP = `
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. last, 'PX', ARGV[3])
for at = 5, #KEYS do redis.call('PEXPIRE', KEYS[at], ARGV[3]) end
return {1, last}`;

/**
 * Begins to prepare a large commit.
 * KEYS: head, step of the stage, then records, index, staged records and staged index of each kind.
 * ARGV: expected revision, nonce of the expected ('': any), life of the stage (ms).
 * Returns {1, head, count of the records of each kind (-1: its index tells another) …}, {0, head} if the head is another.
 */
export const STAGE: Script = {
  name: 'stage',
  lua: `
local head = redis.call('GET', KEYS[1]) or ''
local revision, nonce = string.match(head, '^(%d+) (.+)$')
if tonumber(revision or 0) ~= tonumber(ARGV[1]) or (ARGV[2] ~= '' and ARGV[2] ~= nonce) then return {0, head} end
if redis.acl_check_cmd then
  for at = 3, #KEYS, 4 do
    for _, command in ipairs({
      {'HLEN', KEYS[at]}, {'ZCARD', KEYS[at + 1]}, {'UNLINK', KEYS[at]}, {'PERSIST', KEYS[at + 2]}, {'PEXPIRE', KEYS[at + 2], 1},
      {'RENAME', KEYS[at + 2], KEYS[at]}, {'HGET', KEYS[at], ''}, {'ZRANGE', KEYS[at + 1], '-', '+', 'BYLEX'},
      {'HSET', KEYS[at + 2], '', ''}, {'ZADD', KEYS[at + 3], 0, ''}, {'SET', KEYS[2], ''}
    }) do
      if not redis.acl_check_cmd(unpack(command)) then
        return redis.error_reply('NOPERM this user may not ' .. command[1] .. ' on ' .. command[2])
      end
    end
  end
end
local found = {1, head}
for at = 3, #KEYS, 4 do
  local count = redis.call('ZCARD', KEYS[at + 1])
  found[#found + 1] = redis.call('HLEN', KEYS[at]) == count and count or -1
end
redis.call('SET', KEYS[2], '0 ', 'PX', ARGV[3])
return found`,
};

/**
 * Copies some records of a kind to the stage, in the order of their ids.
 * KEYS: head, step, records, index, staged records, staged index, then the other keys of the stage.
 * ARGV: number of the step, head, life (ms), where to begin, how many at most, characters after which it ends.
 * Returns {1, where to go on, '': the end}, {0, head} if the head is another.
 */
export const STAGE_COPY: Script = {
  name: 'stage-copy',
  lua: `${SAME_HEAD}${STEP}
local ids = redis.call('ZRANGE', KEYS[4], ARGV[4], '+', 'BYLEX', 'LIMIT', 0, ARGV[5])
local records, index, size = {}, {}, 0
last = ''
for at = 1, #ids do
  local value = redis.call('HGET', KEYS[3], ids[at])
  if value then
    records[#records + 1] = ids[at]
    records[#records + 1] = value
    size = size + #value
  end
  index[#index + 1] = 0
  index[#index + 1] = ids[at]
  last = '(' .. ids[at]
  if size > tonumber(ARGV[6]) then break end
end
if #records > 0 then redis.call('HSET', KEYS[5], unpack(records)) end
if #index > 0 then redis.call('ZADD', KEYS[6], unpack(index)) end${KEEP}`,
};

/**
 * Writes some changes of a kind to the stage.
 * KEYS: as `STAGE_COPY`. ARGV: number of the step, head, life (ms), then id and value ('': delete) of each change.
 */
export const STAGE_PUT: Script = {
  name: 'stage-put',
  lua: `${SAME_HEAD}${STEP}
last = ''
for at = 4, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[5], ARGV[at])
    redis.call('ZREM', KEYS[6], ARGV[at])
  else
    redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 1])
    redis.call('ZADD', KEYS[6], 0, ARGV[at])
  end
end${KEEP}`,
};
