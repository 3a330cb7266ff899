/** Bounds that are kept while reading, before anything is built (api.md, Limits). */
export interface CodecLimits {
  readonly checksPerBatch: number;
  readonly objectsPerFilter: number;
  readonly attributesPerResource: number;
  readonly valuesPerAttribute: number;
  readonly sourcesPerResource: number;
  /** Over all attributes of a resource and of its sources. */
  readonly valuesPerResource: number;
}
