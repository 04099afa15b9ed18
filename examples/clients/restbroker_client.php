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
        $token = ($file = getenv('RESTBROKER_TOKENFILE')) ? file_get_contents($file) : getenv('RESTBROKER_TOKEN');
        $this->token = trim($token ?: '') ?: throw new \LogicException('Set RESTBROKER_TOKENFILE or RESTBROKER_TOKEN.');
    }
    /** Queue a job, for now or a later time (epoch seconds); return its id. $fields: 'order_key', 'expiry', … */
    public function push(string $command, array $arguments, array $fields = [], ?float $at = null): string
    {
        $job = $fields + ['class' => 'Restbroker', 'jid' => bin2hex(random_bytes(12)), 'queue' => $this->queue];
        $job += ['retry' => true, 'args' => [$command, $arguments, $this->token], 'created_at' => microtime(true)];
        $raw = json_encode($job, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
        $this->redis->connect(); // if that fails, nothing was sent
        $this->ask($job['jid'], ...$at ? ['zadd', 'schedule', [$raw => $at]] : ['lpush', "queue:$this->queue", [$raw]]);
        return $job['jid'];
    }
    public function later(float $seconds, string $command, array $arguments, array $fields = []): string
    {
        return $this->push($command, $arguments, $fields, microtime(true) + $seconds);
    }
    public function call(string $command, array $arguments, array $fields = [], int $timeout = 10): array
    {
        $jid = bin2hex(random_bytes(12));
        return $this->wait($this->push($command, $arguments, ['jid' => $jid, 'reply_to' => $jid] + $fields), $timeout);
    }
    public function wait(string $jid, int $timeout = 10): array
    {
        for ($left = $timeout, $found = null; !$found && $left > 0; $left -= 5)
            $found = $this->ask($jid, 'blpop', ["restbroker:reply:$jid"], min($left, 5));
        $found || throw new Unknown("No answer to the job $jid within $timeout s. It may still run.", $jid);
        ['outcome' => $outcome, 'error' => $error] = $answer = json_decode($found[1], true);
        if (array_intersect([$outcome, $answer['first']['outcome'] ?? ''], ['delivered', 'negative'])) return $answer;
        $unsure = in_array($outcome, ['uncertain', 'duplicate']) || isset($answer['may_have_run']);
        $text = "{$error['code']}: {$error['message']} {$error['cure']} (job $jid)";
        throw $unsure ? new Unknown($text, $jid, $answer) : new Refused($text, $jid, $answer);
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
