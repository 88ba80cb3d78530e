@0xd1f6a3c95e0b7284;

interface Bench {
  echo @0 (data :Data) -> (data :Data);
  subscribe @1 (count :UInt32, receiver :Receiver) -> ();
}

interface Receiver {
  push @0 (data :Data) -> stream;
  done @1 () -> ();
}
