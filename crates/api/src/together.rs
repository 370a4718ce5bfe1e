//! Questions that come while another one is being answered, asked together: one statement, one transaction for all of them.
//!
//! ```text
//!   a ──► asked at once ─────────╮
//!   b ──► waits ╮                ▼ answered
//!   c ──► waits ├──────────────► b, c, d asked together ─────╮
//!   d ──► waits ╯                     e ──► waits …          ▼ answered
//! ```
//!
//! Nobody waits for company: the first one goes at once, and whoever comes meanwhile goes next.

use std::sync::Arc;

use tokio::sync::{
    Mutex, OwnedMutexGuard,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::Problem;

/// How much is asked together before the rest has to wait.
const TOGETHER_MAX: usize = 500;

#[derive(Debug)]
struct Waiting<Q, A> {
    question: Q,
    weight: usize,
    answer: oneshot::Sender<Result<A, Problem>>,
}

/// Questions of one kind. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Together<Q, A> {
    waiting: UnboundedSender<Waiting<Q, A>>,
    /// Whoever has it asks what is waiting, for everybody.
    turn: Arc<Mutex<UnboundedReceiver<Waiting<Q, A>>>>,
}

impl<Q, A> Clone for Together<Q, A> {
    fn clone(&self) -> Self {
        Self { waiting: self.waiting.clone(), turn: self.turn.clone() }
    }
}

impl<Q, A> Default for Together<Q, A> {
    fn default() -> Self {
        let (waiting, receiver) = unbounded_channel();
        Self { waiting, turn: Arc::new(Mutex::new(receiver)) }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// The answer to a question. `ask` answers several, each with what stands in its place.
    ///
    /// # Errors
    /// What `ask` fails with; all who were asked together are told.
    pub(crate) async fn ask<F, Answering>(&self, question: Q, ask: F) -> Result<A, Problem>
    where
        F: Fn(Vec<Q>) -> Answering + Send + 'static,
        Answering: Future<Output = Result<Vec<A>, Problem>> + Send + 'static,
    {
        self.ask_weighed(question, 1, ask).await
    }

    /// The same for a question that is as much as `weight` others.
    ///
    /// # Errors
    /// What `ask` fails with; all who were asked together are told.
    pub(crate) async fn ask_weighed<F, Answering>(
        &self,
        question: Q,
        weight: usize,
        ask: F,
    ) -> Result<A, Problem>
    where
        F: Fn(Vec<Q>) -> Answering + Send + 'static,
        Answering: Future<Output = Result<Vec<A>, Problem>> + Send + 'static,
    {
        let gone = || Problem::internal("nobody answers what was asked");
        let (answer, mut told) = oneshot::channel();
        self.waiting.send(Waiting { question, weight, answer }).map_err(|_| gone())?;
        tokio::select! {
            biased;
            told = &mut told => return told.map_err(|_| gone())?,
            turn = self.turn.clone().lock_owned() => {
                // Not by the request: one that goes away would take those of others with it.
                tokio::spawn(answer_all(turn, ask));
            }
        }
        told.await.map_err(|_| gone())?
    }
}

async fn answer_all<Q, A, F, Answering>(mut turn: OwnedMutexGuard<UnboundedReceiver<Waiting<Q, A>>>, ask: F)
where
    F: Fn(Vec<Q>) -> Answering,
    Answering: Future<Output = Result<Vec<A>, Problem>>,
{
    while let Ok(first) = turn.try_recv() {
        let mut weight = first.weight;
        let mut together = vec![first];
        while weight < TOGETHER_MAX
            && let Ok(next) = turn.try_recv()
        {
            weight += next.weight;
            together.push(next);
        }
        let (questions, tell): (Vec<Q>, Vec<_>) =
            together.into_iter().map(|waiting| (waiting.question, waiting.answer)).unzip();
        // Whoever has gone is told nothing.
        match ask(questions).await {
            Ok(answers) => tell.into_iter().zip(answers).for_each(|(one, answer)| drop(one.send(Ok(answer)))),
            Err(problem) => tell.into_iter().for_each(|one| drop(one.send(Err(problem.clone())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_that_wait_are_asked_together_and_hear_their_own_answer() {
        let together = Together::<u32, u32>::default();
        let (open, asked) = (Arc::new(Semaphore::new(0)), Arc::new(StdMutex::new(Vec::new())));
        let ask = |number: u32| {
            let (together, open, asked) = (together.clone(), open.clone(), asked.clone());
            tokio::spawn(async move {
                let ask = move |numbers: Vec<u32>| {
                    let (open, asked) = (open.clone(), asked.clone());
                    async move {
                        asked.lock().unwrap().push(numbers.len());
                        open.acquire().await.unwrap().forget();
                        if numbers.contains(&13) {
                            return Err(Problem::internal("thirteen"));
                        }
                        Ok(numbers.into_iter().map(|number| number * 2).collect())
                    }
                };
                together.ask(number, ask).await
            })
        };
        let first = ask(1);
        while asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let others = [2, 3, 4].map(ask);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        // Whoever gives up is asked for all the same, and takes nobody with it.
        others[0].abort();
        first.abort();
        open.add_permits(2);
        let [_, three, four] = others;
        assert_eq!((three.await.unwrap().unwrap(), four.await.unwrap().unwrap()), (6, 8));
        assert_eq!(*asked.lock().unwrap(), [1, 3]);

        open.add_permits(1);
        assert!(ask(13).await.unwrap().is_err());
        open.add_permits(1);
        assert_eq!(ask(14).await.unwrap().unwrap(), 28);
    }
}
