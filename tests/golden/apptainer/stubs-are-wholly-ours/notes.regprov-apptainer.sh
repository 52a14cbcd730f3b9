this file is wholly regprov's
