/** What a publisher process is to do. */
export interface PublishJob {
  readonly host: string;
  readonly port: number;
  /** Connections of all publisher processes together, and those that are this one's. */
  readonly connections: number;
  readonly connectionsFrom: number;
  readonly connectionsTo: number;
  readonly qos: 0 | 1;
  readonly readingsPerMessage: number;
  /** Series of all connections together; each connection has its own, in equal parts. */
  readonly series: number;
  /** First number of a series. */
  readonly seriesFrom: number;
  /** Messages a second of this process; 0: as fast as they are taken. */
  readonly rate: number;
  /** How long, s; 0: until `messages`. */
  readonly seconds: number;
  /** Messages of this process, at most; 0: until `seconds`. */
  readonly messages: number;
  /** Unacknowledged messages of a connection at QoS 1, at most; up to 65,535. */
  readonly window: number;
  readonly clientPrefix: string;
  /** Event time: 0: the clock's; else each series' first reading is of startMs and the next of stepMs later. */
  readonly startMs: number;
  readonly stepMs: number;
}

/** What a publisher process says: its progress, and in the end what it sent. */
export type PublisherMessage =
  | { readonly type: "ready" }
  | { readonly type: "progress"; readonly messages: number; readonly acked: number }
  | ({ readonly type: "done" } & PublishResult);

/** What a publisher did. */
export interface PublishResult {
  readonly messages: number;
  readonly readings: number;
  /** At QoS 1: acknowledged, in order. */
  readonly acked: number;
  readonly bytes: number;
  /** From the first message to the last write taken by the system, or at QoS 1 to the last acknowledgement, s. */
  readonly seconds: number;
  /** CPU time of the process in that time, s. */
  readonly cpuSeconds: number;
  /** Largest number of messages that the pace was behind its schedule. */
  readonly behindMax: number;
}

/** What the bench says to a publisher. */
export type PublisherCommand = { readonly type: "go" } | { readonly type: "stop" };
