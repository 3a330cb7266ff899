/**
 * What runs inside Redis: each script is one atomic step on the keys of one tenant. They move records and know
 * nothing of their meaning.
 */

export interface Script {
  readonly name: string;
  readonly lua: string;
}

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
  lua: `
local head = redis.call('GET', KEYS[1])
local revision, nonce = 0, ''
if head then revision, nonce = string.match(head, '^(%d+) (.+)$') end
if tonumber(revision) ~= tonumber(ARGV[1]) then
  local id = string.format('%.0f-0', tonumber(ARGV[1]) + 1)
  local own = redis.call('XRANGE', KEYS[2], id, id)[1]
  if own and own[2][2] == ARGV[2] then return {1, string.sub(id, 1, -3), ARGV[2]} end
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
for at = 11, #ARGV, 3 do
  local kind = ARGV[at]
  if not seen[kind] then
    seen[kind] = true
    local records = 2 + 2 * tonumber(kind)
    wrong = wrong or problem(records, 'hash') or problem(records + 1, 'zset')
  end
end
if wrong then return wrong end
if redis.call('XRANGE', KEYS[2], next .. '-0', '+', 'COUNT', 1)[1] then
  return redis.error_reply('WRONGHEAD ' .. KEYS[1] .. ' is older than ' .. KEYS[2])
end
redis.call('SADD', KEYS[3], ARGV[3])
for at = 11, #ARGV, 3 do
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
return {1, next, ARGV[2]}`,
};

/** KEYS: head, then a hash for each id of ARGV. Returns head and values of one moment. */
export const GET: Script = {
  name: 'get',
  lua: `
local found = {redis.call('GET', KEYS[1])}
for at = 1, #ARGV do found[at + 1] = redis.call('HGET', KEYS[at + 1], ARGV[at]) end
return found`,
};

/** KEYS: head, records, index. ARGV: where to begin, how many. Returns head, then id and value in turn. */
export const SCAN: Script = {
  name: 'scan',
  lua: `
local found = {redis.call('GET', KEYS[1])}
local ids = redis.call('ZRANGE', KEYS[3], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
for at = 1, #ids do
  found[2 * at] = ids[at]
  found[2 * at + 1] = redis.call('HGET', KEYS[2], ids[at])
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
