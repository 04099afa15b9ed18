<?php // Pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it into your project; needs Predis.
namespace Restbroker;

class NotDone extends \RuntimeException
{
    function __construct(string $text, public string $jid, public ?array $answer = null) { parent::__construct($text); }
}
/** It was not done, and is not tried again: $answer['error'] has 'code', 'message' and 'cure'. */
class Refused extends NotDone {}
/** It may be done, or may still run: wait again. Push it again only with the same 'idempotency_key'. */
class Unknown extends NotDone {}

class Client
{
    private string $token;
    public function __construct(private \Predis\Client $redis, private string $queue = 'rest')
    {
        $this->token = self::secret();
    }
    /** Queue a job, for now or a later time (epoch seconds); return its id. $fields: 'order_key', 'expiry', … */
    public function push(string $command, array $arguments, array $fields = [], ?float $at = null): string
    {
        $job = $fields + ['class' => 'Restbroker', 'jid' => bin2hex(random_bytes(12)), 'queue' => $this->queue];
        $job += ['retry' => true, 'args' => [$command, $arguments, $this->token], 'created_at' => microtime(true)];
        $raw = json_encode($job, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
        is_finite($at ?? 0) || throw new \ValueError('A job is due at a number of epoch seconds.');
        $this->redis->connect(); // if that fails, nothing was sent
        $this->ask($job['jid'], ...$at !== null ? ['zadd', 'schedule', [$raw => $at]] : ['lpush', "queue:$this->queue", [$raw]]);
        return $job['jid'];
    }
    public function later(float $seconds, string $command, array $arguments, array $fields = []): string
    {
        return $this->push($command, $arguments, $fields, microtime(true) + $seconds);
    }
    public function call(string $command, array $arguments, array $fields = [], float $timeout = 10): array
    {
        self::check($timeout);
        $jid = bin2hex(random_bytes(12));
        return $this->wait($this->push($command, $arguments, ['jid' => $jid, 'reply_to' => $jid] + $fields), $timeout);
    }
    public function wait(string $jid, float $timeout = 10): array
    {
        self::check($timeout);
        $node = $this->redis->getConnection(); // it gives up reading by its own time-out: ask for less
        $reads = $node instanceof \Predis\Connection\NodeConnectionInterface ? $node->getParameters()->read_write_timeout : null;
        $most = ($reads ??= (float) ini_get('default_socket_timeout')) > 0 ? min(5, $reads / 2) : 5;
        for ($end = microtime(true) + $timeout, $found = null; !$found && ($left = $end - microtime(true)) > 0;)
            $found = $this->ask($jid, 'blpop', ["restbroker:reply:$jid"], min(max($left, 0.01), $most)); // an older Redis: less is for ever
        $found || throw new Unknown("No answer to the job $jid within $timeout s. It may still run.", $jid);
        ['outcome' => $outcome, 'error' => $error] = $answer = (array) json_decode($found[1], true) + ['outcome' => null, 'error' => null];
        if (array_intersect([$outcome, $answer['first']['outcome'] ?? ''], ['delivered', 'negative'])) return $answer;
        $unsure = in_array($outcome, [null, 'uncertain', 'duplicate'], true) || isset($answer['may_have_run']);
        $text = "{$error['code']}: {$error['message']} {$error['cure']} (job $jid)";
        throw $unsure ? new Unknown($text, $jid, $answer) : new Refused($text, $jid, $answer);
    }
    private static function check(float $timeout): void
    {
        $timeout > 0 && is_finite($timeout) || throw new \ValueError('timeout: a number of seconds above 0 is needed.');
    }
    /** The token, read by restbroker's own rule: docs/tokens.md#how-a-secrets-file-is-read. */
    private static function secret(): string
    {
        $text = (string) getenv('RESTBROKER_TOKEN');
        if ($file = getenv('RESTBROKER_TOKENFILE')) {
            $raw = (string) file_get_contents($file);
            $encoding = preg_match('/^(\xFF\xFE|[^\0]\0)/', $raw) ? 'UTF-16LE' : (preg_match('/^(\xFE\xFF|\0)/', $raw) ? 'UTF-16BE' : 'UTF-8');
            $ends = ['/^\x{FEFF}/u' => '', '/\r\n?/' => "\n", '/[\n\x{85}\x{2028}\x{2029}\x1A]+\z/u' => ''];
            $text = (string) preg_replace(array_keys($ends), $ends, (string) @iconv($encoding, 'UTF-8', $raw));
        }
        if (trim($text) !== '' && !str_contains($text, "\0")) return $text;
        throw new \LogicException('No token: set RESTBROKER_TOKENFILE to a file that has it, or RESTBROKER_TOKEN.');
    }
    private function ask(string $jid, string $name, mixed ...$arguments): mixed
    {
        try {
            return $this->redis->$name(...$arguments);
        } catch (\Predis\PredisException $error) {
            if ($name !== 'blpop' && $error instanceof \Predis\Response\ServerException) throw $error; // not queued
            throw new Unknown("The job $jid may be queued or done, or not: {$error->getMessage()}", $jid);
        }
    }
}
