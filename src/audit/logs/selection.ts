/** Which records of a log are looked at. */

/** All that are not excluded; times in ms since the epoch, `to` itself is not in it. */
export interface Selection {
  readonly tenant?: string | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

export function isSelected(
  record: { readonly tenant: string; readonly time: string },
  { tenant, from = -Infinity, to = Infinity }: Selection,
): boolean {
  if (tenant !== undefined && record.tenant !== tenant) return false;
  if (from === -Infinity && to === Infinity) return true;
  const at = Date.parse(record.time);
  return at >= from && at < to;
}
