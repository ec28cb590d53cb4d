/** A file that holds a table: CSV or Parquet. */
export interface Table {
  /** For a person, such as "CSV" or "Parquet". */
  readonly format: string;
  readonly columns: readonly TableColumn[];
  /** The first row; undefined: there is none. */
  readonly first: readonly unknown[] | undefined;
  /** Rows after the first `skip`, in the file's order, some at a time. columns: the others may be left out. */
  chunks(skip: number, columns: readonly number[]): AsyncIterable<RowChunk>;
}

/** A column by its place. */
export interface TableColumn {
  readonly name: string;
  /**
   * What the file itself says of a column of times, whose fields are then ms: since 1970 in UTC, or as local clocks
   * showed them; or, of day, times that belong to no date, and so tell nothing. Absent: it says nothing.
   */
  readonly time?: "utc" | "local" | "of day";
}

/** Some rows. */
export interface RowChunk {
  readonly count: number;
  /** The share of the file that has been read with it, 0 to 1. */
  readonly share: number;
  /** The fields of a row, lent until the next call; a text in their place is a row that cannot be read. */
  row(index: number): readonly unknown[] | string;
}
